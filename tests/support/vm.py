"""Run a command under another kernel: a QEMU guest with this machine's file system.

The guest sees ``/`` of this machine read-only, under a layer of its own that is thrown away; so Python, the virtual
environment and the checkout stand where they stand here. Only the folder of results is shared for writing, as
``/run/results``. Files are shared by 9p, which QEMU has built in. The guest's CPU is emulated, the same way on every
machine, and 10 to 30 times slower than this one's: no timing in there says anything. A :class:`Boot` says what is to be
otherwise: another root tree, systemd as process 1, a kernel that is where it likes.

Nothing outlives :func:`run_in_guest`: QEMU is a child, is killed at the deadline, and dies with this process.
"""

import re
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
_EMULATION_PANIC = re.compile(r"Oops: int3\b.*?^.*\bRIP: [0-9a-f]+:__kmalloc_cache_noprof\+", re.DOTALL | re.MULTILINE)
"""The kernel patches its code while it runs, and the emulated CPU goes on with the breakpoint that it puts there
meanwhile (1 of 14 boots of Linux 7.2 with a thread for each CPU)."""
_running: "dict[subprocess.Popen[str], Path]" = {}
"""Guest -> its folder of results."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ACCELERATOR = "tcg,thread=single"
"""With a thread for each CPU, QEMU 7.2 now and then goes on running an int3 that the kernel, which patches its code to
switch tracepoints and static keys, has long taken away: both CPUs hang in it."""
_KERNEL_OPTIONS = (
    # A panic ends the guest at once; what slows an emulated CPU down is left out. The kernel's test of its timer finds
    # one that does not run when this machine is busy, and panics (1 boot of 100).
    "console=ttyS0 quiet loglevel=4 panic=-1 reboot=t audit=0 apparmor=0 cryptomgr.notests random.trust_cpu=on "
    "no_timer_check"
)
_COMMAND = """: >{results}/started
cd {folder} || exit
{command} </dev/null >{results}/stdout 2>{results}/stderr
echo $? >{results}/status
sync
echo b >/proc/sysrq-trigger
sleep 60
"""


_SYSTEMD_MAIN = """mkdir -p /run/systemd/system
for unit in {idle}; do ln -s /dev/null /run/systemd/system/$unit; done
cat >/run/systemd/system/guest-command.service <<END
[Unit]
Description=What the guest was booted for
Requires=basic.target
After=basic.target
[Service]
ExecStart=/run/busybox sh {results}/command
END
exec /lib/systemd/systemd --system --unit=guest-command.service systemd.show_status=no
"""
_IDLE_UNITS = (
    *("systemd-tmpfiles-clean.timer", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
    *("e2scrub_all.timer", "fstrim.timer", "systemd-firstboot.service", "systemd-remount-fs.service"),
)
"""Have nothing to do in a guest of a minute's life."""


class GuestError(Exception):
    """The guest did not get as far as the command's exit status; the text ends with its console."""


@dataclass(frozen=True, slots=True)
class Boot:
    """How a guest is booted."""

    root: Path = Path("/")
    """Of this machine: the tree that the guest sees as its root."""

    has_systemd: bool = False
    """Whether the tree's systemd is process 1; it runs the command as a service."""

    is_hardened: bool = False
    """Whether the kernel is where it likes (KASLR), has 5-level page tables, and mitigates what its CPU suffers from.
    Takes three times as long to boot."""

    is_overlay_late: bool = False
    """Whether overlayfs' module is not loaded but lies in /run/late. The root is read-only then,
    but for /mnt and what is for devices and sockets."""


PLAIN = Boot()


@dataclass(frozen=True, slots=True)
class GuestRun:
    """What a command did in the guest."""

    status: int
    stdout: str
    stderr: str
    console: str
    """What the kernel said at level warning and above."""


def run_in_guest(
    kernel: Kernel,
    command: Sequence[str],
    results: Path,
    *,
    folder: Path,
    env: dict[str, str],
    timeout_s: float,
    boot: Boot = PLAIN,
) -> GuestRun:
    """Boot, run a command as root in ``folder``, and wait for the guest's end.

    ``results`` is a folder of the host, which the guest sees at :data:`RESULTS`.

    Raises:
        GuestError: no exit status came: a panic, a hang (killed after ``timeout_s``), or QEMU did not start.
    """
    _write_programs(results, command, folder, env, boot)
    console = results / "console"
    with tempfile.TemporaryDirectory(prefix="stockade-vm-") as name:
        qemu = _build_command(kernel, _build_initramfs(kernel, Path(name), boot), results, boot)
        ending = _run_qemu(qemu, results, timeout_s)
        if not (results / "status").exists() and is_fault_of_emulation(_read(console)):
            print(f"Linux {kernel.release} is booted once more, after {ending}\n{_read_tail(console)}")
            (results / "started").unlink(missing_ok=True)
            ending = _run_qemu(qemu, results, timeout_s)
    if not (results / "status").exists():
        raise GuestError(
            f"no exit status from the guest with Linux {kernel.release}: {ending}\nconsole:\n{_read_tail(console)}"
        )
    return GuestRun(
        status=int((results / "status").read_text()),
        stdout=_read(results / "stdout"),
        stderr=_read(results / "stderr"),
        console=_read(console),
    )


def is_fault_of_emulation(console: str) -> bool:
    """Whether a guest that ended without a status did so for what only emulated CPUs do: the one panic that is known,
    or a reset before the kernel has said a word (1 boot of 100 on a busy machine)."""
    return not console or bool(_EMULATION_PANIC.search(console))


def _read(path: Path) -> str:
    return path.read_text(errors="backslashreplace") if path.exists() else ""


def _read_tail(console: Path) -> str:
    return "\n".join(_read(console).splitlines()[-_CONSOLE_LINES:])


def _write_programs(results: Path, command: Sequence[str], folder: Path, env: dict[str, str], boot: Boot) -> None:
    """``main``, which becomes process 1, and ``command``, which it runs."""
    settings = [f"PATH={_PATH}", "HOME=/root", *(f"{name}={value}" for name, value in env.items())]
    words = shlex.join(["/run/busybox", "env", "-i", *settings, *command])
    text = _COMMAND.format(folder=shlex.quote(str(folder)), command=words, results=RESULTS)
    (results / "command").write_text(text)
    if boot.has_systemd:
        text = _SYSTEMD_MAIN.format(idle=" ".join(_IDLE_UNITS), results=RESULTS)
    (results / "main").write_text(text)


def end_guests(folder: Path) -> None:
    """End the guests whose results lie below ``folder``; whoever waits for one is told that it has ended."""
    for qemu, results in tuple(_running.items()):
        if results.is_relative_to(folder):
            qemu.kill()


def _run_qemu(command: Sequence[str | Path], results: Path, timeout_s: float) -> str:
    """Run it to its end, or kill it; answer how it ended and what it said."""
    qemu = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    _running[qemu] = results
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
    finally:
        del _running[qemu]
    return f"QEMU ended with status {qemu.returncode}; {said}"


def _build_initramfs(kernel: Kernel, folder: Path, boot: Boot) -> Path:
    """Busybox, the modules in their order, and ``vm_init.sh``; the kernel brings /dev/console itself."""
    root = folder / "root"
    for name in ("bin", "modules", *(["late"] if boot.is_overlay_late else [])):
        (root / name).mkdir(parents=True)
    shutil.copy(_BUSYBOX, root / "bin" / "busybox")
    shutil.copy(_INIT, root / "init")
    (root / "init").chmod(0o755)
    for number, module in enumerate(kernel.modules):
        is_late = boot.is_overlay_late and module.name.startswith("overlay")
        shutil.copy(module, root / ("late" if is_late else "modules") / f"{number:02d}-{module.name}")
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


def _build_command(kernel: Kernel, initramfs: Path, results: Path, boot: Boot) -> list[str | Path]:
    shares = (("machine", boot.root, "on"), ("results", results, "off"))
    return [
        *(*DYING_WITH_US, QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35", "-accel", _ACCELERATOR, "-smp", "2", "-m", str(_MEMORY_MIB)),
        *("-device", "virtio-rng-pci", "-serial", f"file:{results / 'console'}", "-initrd", initramfs),
        *_choose_kernel(kernel, boot),
        *(word for share in shares for word in _share(*share)),
    ]


def _choose_kernel(kernel: Kernel, boot: Boot) -> tuple[str | Path, ...]:
    """Only an image that unpacks itself moves itself, and switches 5-level page tables on."""
    if boot.is_hardened:
        return ("-cpu", "max", "-kernel", kernel.packed_image, "-append", f"{_KERNEL_OPTIONS} mitigations=auto")
    options = f"{_KERNEL_OPTIONS} mitigations=off nokaslr"
    return ("-cpu", "max,la57=off", "-kernel", kernel.image, "-append", options)


def _share(tag: str, path: str | Path, read_only: str) -> tuple[str, ...]:
    """A folder with all that is mounted below it, as 9p; file systems get distinct inode numbers."""
    escaped = str(path).replace(",", ",,")
    return (
        *("-fsdev", f"local,id={tag},path={escaped},security_model=none,readonly={read_only},multidevs=remap"),
        *("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
    )
