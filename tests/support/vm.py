"""Run a command under another kernel: a QEMU guest with this machine's file system.

The guest sees ``/`` of this machine read-only, under a layer of its own that is thrown away; so Python, the virtual
environment and the checkout stand where they stand here. Only the folder of results is shared for writing, as
``/run/results``. Files are shared by 9p, which QEMU has built in. The guest's CPU is emulated, the same way on every
machine, and 10 to 30 times slower than this one's: no timing in there says anything.

Nothing outlives :func:`run_in_guest`: QEMU is a child, is killed at the deadline, and dies with this process.
"""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.leftovers import DYING_WITH_US
from tests.support.vm_kernel import Kernel

QEMU = "qemu-system-x86_64"
RESULTS = Path("/run/results")
"""In the guest: the folder that it shares with the host."""

_BUSYBOX = Path("/bin/busybox")
_INIT = Path(__file__).with_name("vm_init.sh")
_MEMORY_MIB = 1536
_CONSOLE_LINES = 60
_BOOTS_MAX = 2
"""Now and then (1 of 100 on a busy machine) an emulated kernel resets before it has said a word. What has begun to run
the command is never run again."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ACCELERATOR = "tcg,thread=single"
"""With a thread for each CPU, QEMU 7.2 now and then goes on running an int3 that the kernel, which patches its code to
switch tracepoints and static keys, has long taken away: both CPUs hang in it."""
_KERNEL_OPTIONS = (
    # A panic ends the guest at once; what slows an emulated CPU down is left out.
    "console=ttyS0 quiet loglevel=4 panic=-1 reboot=t mitigations=off nokaslr audit=0 apparmor=0 cryptomgr.notests "
    "random.trust_cpu=on"
)
_MAIN = """: >{results}/started
cd {folder} || exit
{command} </dev/null >{results}/stdout 2>{results}/stderr
echo $? >{results}/status
sync
echo b >/proc/sysrq-trigger
sleep 60
"""


class GuestError(Exception):
    """The guest did not get as far as the command's exit status; the text ends with its console."""


@dataclass(frozen=True, slots=True)
class GuestRun:
    """What a command did in the guest."""

    status: int
    stdout: str
    stderr: str
    console: str
    """What the kernel said at level warning and above."""


def run_in_guest(
    kernel: Kernel, command: Sequence[str], results: Path, *, folder: Path, env: dict[str, str], timeout_s: float
) -> GuestRun:
    """Boot, run a command as root in ``folder``, and wait for the guest's end.

    ``results`` is a folder of the host, which the guest sees at :data:`RESULTS`.

    Raises:
        GuestError: no exit status came: a panic, a hang (killed after ``timeout_s``), or QEMU did not start.
    """
    settings = [f"PATH={_PATH}", "HOME=/root", *(f"{name}={value}" for name, value in env.items())]
    words = shlex.join(["/run/busybox", "env", "-i", *settings, *command])
    (results / "main").write_text(_MAIN.format(folder=shlex.quote(str(folder)), command=words, results=RESULTS))
    console = results / "console"
    with tempfile.TemporaryDirectory(prefix="stockade-vm-") as name:
        qemu = _build_command(kernel, _build_initramfs(kernel, Path(name)), results, console)
        for _ in range(_BOOTS_MAX):
            ending = _run_qemu(qemu, timeout_s)
            if (results / "started").exists():
                break
    log = console.read_text(errors="backslashreplace") if console.exists() else ""
    if not (results / "status").exists():
        tail = "\n".join(log.splitlines()[-_CONSOLE_LINES:])
        raise GuestError(f"no exit status from the guest with Linux {kernel.release}: {ending}\nconsole:\n{tail}")
    return GuestRun(
        status=int((results / "status").read_text()),
        stdout=(results / "stdout").read_text(errors="backslashreplace"),
        stderr=(results / "stderr").read_text(errors="backslashreplace"),
        console=log,
    )


def _run_qemu(command: Sequence[str | Path], timeout_s: float) -> str:
    """Run it to its end, or kill it; answer how it ended and what it said."""
    qemu = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said, _ = qemu.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        qemu.kill()
        said, _ = qemu.communicate()
        return f"killed after {timeout_s:.0f} s; {said}"
    except BaseException:
        qemu.kill()
        qemu.wait()
        raise
    return f"QEMU ended with status {qemu.returncode}; {said}"


def _build_initramfs(kernel: Kernel, folder: Path) -> Path:
    """Busybox, the modules in their order, and ``vm_init.sh``; the kernel brings /dev/console itself."""
    root = folder / "root"
    for name in ("bin", "modules"):
        (root / name).mkdir(parents=True)
    shutil.copy(_BUSYBOX, root / "bin" / "busybox")
    shutil.copy(_INIT, root / "init")
    (root / "init").chmod(0o755)
    for number, module in enumerate(kernel.modules):
        shutil.copy(module, root / "modules" / f"{number:02d}-{module.name}")
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = folder / "initramfs"
    with archive.open("wb") as file:
        subprocess.run(
            [_BUSYBOX, "cpio", "-o", "-H", "newc"],
            input=names.encode(),
            stdout=file,
            stderr=subprocess.DEVNULL,
            cwd=root,
            check=True,
        )
    return archive


def _build_command(kernel: Kernel, initramfs: Path, results: Path, console: Path) -> list[str | Path]:
    shares = (("machine", "/", "on"), ("results", results, "off"))
    return [
        *(*DYING_WITH_US, QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35", "-accel", _ACCELERATOR, "-cpu", "max,la57=off"),
        *("-smp", "2", "-m", str(_MEMORY_MIB), "-device", "virtio-rng-pci", "-serial", f"file:{console}"),
        *("-kernel", kernel.image, "-initrd", initramfs, "-append", _KERNEL_OPTIONS),
        *(word for share in shares for word in _share(*share)),
    ]


def _share(tag: str, path: str | Path, read_only: str) -> tuple[str, ...]:
    """A folder with all that is mounted below it, as 9p; file systems get distinct inode numbers."""
    escaped = str(path).replace(",", ",,")
    return (
        *("-fsdev", f"local,id={tag},path={escaped},security_model=none,readonly={read_only},multidevs=remap"),
        *("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
    )
