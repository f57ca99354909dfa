"""A fresh Debian: a root tree made from packages, with a copy of this checkout in it, in which commands are run.

Not a container: only the mount namespace is its own, with the tree as its root, so that programs see this machine's
kernel, processes and cgroups, as on a host. /run and /tmp are the tree's; what is mounted vanishes with the last
process of a command.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.install import machine
from tests.install.running import How, run

CHECKOUT = Path(__file__).resolve().parents[2]
COPY = Path("/srv/a checkout/stockade")
"""Where the copy is in the tree; with a space, since users' folders have them."""

_CERTIFICATES = Path("/etc/machine-certificates.pem")
_NOT_COPIED = (".git", ".venv", "build", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis")

# Moving the tree onto / makes it the root of the namespace: paths in events end there, and runc can pivot from it.
_ENTER = """
root=$1; shift
mount --bind "$root" "$root"
cd "$root"
for each in proc sys dev; do mount --rbind "/$each" "$root/$each"; done
mount -t tmpfs -o mode=0755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount --move "$root" /
exec chroot . "$@"
"""


@dataclass(frozen=True, slots=True)
class Tree:
    """A root tree and how its programs reach the network."""

    root: Path
    environment: dict[str, str]

    def run(
        self,
        *command: str,
        timeout: float = 60,
        network: bool = True,
        user: str = "root",
        watch: Callable[[str], object] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the tree, its two outputs together; ``network=False`` leaves it without any.

        Raises:
            subprocess.TimeoutExpired: after ``timeout`` seconds.
        """
        namespaces = ["--mount", "--propagation", "private", *([] if network else ["--net"])]
        enter = ["sh", "-euc", _ENTER, "sh", str(self.root)]
        become = ["setpriv", f"--reuid={user}", "--clear-groups"] if user != "root" else []
        how = How(timeout, {"STOCKADE_KERNEL_TESTS": "1", **self.environment}, watch=watch)
        return run(["unshare", *namespaces, *enter, *become, *command], how)

    def script(self, name: str, *arguments: str, **how: Any) -> tuple[int, str]:
        """Run one of the checkout's scripts as :meth:`run` does; answers its exit status and what it said."""
        done = self.run(str(COPY / "scripts" / name), *arguments, **how)
        return done.returncode, done.stdout

    def read(self, path: str) -> str:
        """The text of a file in the tree."""
        return (self.root / path.lstrip("/")).read_text()


def make_tree(root: Path, codename: str, packages: Sequence[str] = ()) -> Tree:
    """Make a minimal Debian of that release (no Python, no certificates) and copy the checkout into it.

    ``packages`` are installed besides.

    Raises:
        subprocess.CalledProcessError: mmdebstrap failed; its output is in the error's notes.
    """
    options = [f"--aptopt={line.rstrip(';')}" for line in machine.get_apt_options()]
    sources = [str(source) for source in machine.get_debian_sources(codename)]
    _run_or_explain(
        [
            "mmdebstrap",
            "--mode=root",
            "--variant=minbase",
            "--dpkgopt=force-unsafe-io",
            *options,
            *(f"--include={package}" for package in packages),
            codename,
            str(root),
            "-",
        ],
        input_text="\n".join(sources),
    )
    for credentials in machine.get_apt_credentials():
        shutil.copy2(credentials, root / credentials.relative_to("/"))
    shutil.copytree(CHECKOUT, root / COPY.relative_to("/"), ignore=shutil.ignore_patterns(*_NOT_COPIED), symlinks=True)

    environment = machine.get_environment()
    if certificates := machine.get_certificates():
        shutil.copy2(certificates, root / _CERTIFICATES.relative_to("/"))
        environment |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"), str(_CERTIFICATES))
    return Tree(root, environment)


def _run_or_explain(command: Sequence[str], *, input_text: str) -> None:
    done = subprocess.run(
        command, input=input_text, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}, check=False
    )
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, command)
        error.add_note(done.stderr[-2000:])
        raise error
