"""What kernel, container and guest tests need of the machine, each lack said in words."""

import functools
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.support.oci import find_runtimes
from tests.support.rootfs import has_static_busybox
from tests.support.sandbox import CAP_SYS_ADMIN, PATH, find_modes, has_capability
from tests.support.vm import QEMU

CAP_BPF = 39


def _lacks_privilege() -> str:
    missing = [
        name for name, number in (("CAP_SYS_ADMIN", CAP_SYS_ADMIN), ("CAP_BPF", CAP_BPF)) if not has_capability(number)
    ]
    if os.geteuid() != 0:
        return "needs root: run the tests with sudo"
    return f"root lacks {' and '.join(missing)} here: run on the host or in a privileged container" if missing else ""


def _lacks_btf() -> str:
    return "" if Path("/sys/kernel/btf/vmlinux").exists() else "the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"


def _lacks_compiler() -> str:
    return "" if shutil.which("gcc", path=PATH) else "no gcc for the test programs: apt-get install gcc libc6-dev"


def _lacks_runtime() -> str:
    return "" if find_runtimes() else "no container runtime: apt-get install runc crun"


def _lacks_busybox() -> str:
    return "" if has_static_busybox() else "no static busybox: apt-get install busybox-static"


def _lacks_cgroups() -> str:
    return "" if find_modes() else "no cgroup hierarchy is mounted"


def _lacks_emulator() -> str:
    if platform.machine() != "x86_64":
        return f"guests are x86-64, this machine is {platform.machine()}"
    return "" if shutil.which(QEMU, path=PATH) else "no QEMU: apt-get install qemu-system-x86"


def _lacks_apt() -> str:
    missing = [name for name in ("apt-get", "dpkg-deb") if not shutil.which(name, path=PATH)]
    return f"{' and '.join(missing)} missing: kernels of guests come as Debian packages" if missing else ""


CHECKS: dict[str, tuple[Callable[[], str], ...]] = {
    "kernel": (_lacks_privilege, _lacks_btf),
    "containers": (_lacks_privilege, _lacks_btf, _lacks_compiler, _lacks_runtime, _lacks_busybox, _lacks_cgroups),
    "vm": (_lacks_privilege, _lacks_emulator, _lacks_busybox, _lacks_runtime, _lacks_apt),
}


@functools.cache
def find_obstacle(kind: str) -> str:
    """Why tests of this kind (``kernel``, ``containers`` or ``vm``) cannot run here; empty when they can."""
    return next((reason for check in CHECKS[kind] if (reason := check())), "")
