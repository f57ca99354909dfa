"""A root file system for containers, made on the spot from Debian's static busybox."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

BUSYBOX = Path("/bin/busybox")

FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n",
    "etc/group": "root:x:0:\napp:x:1000:\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\napp:*:19000:0:99999:7:::\n",
    "etc/os-release": 'ID=stockade-test\nNAME="Stockade test image"\n',
    "etc/hostname": "container\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "var/www/index.html": "hello from the container\n",
}
"""Test text: the shadow file holds no usable password."""

FOLDERS = (
    "bin",
    "dev",
    "etc",
    "home/app",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr/bin",
    "usr/sbin",
    "var/log",
)


def has_static_busybox() -> bool:
    """Whether Debian's busybox-static is installed (plain ``busybox`` needs libraries)."""
    shown = subprocess.run(["dpkg-query", "-W", "busybox-static"], capture_output=True, check=False)
    return BUSYBOX.exists() and shown.returncode == 0


def build_rootfs(at: Path, programs: Mapping[str, Path]) -> Path:
    """Fill the new folder ``at``; ``programs`` maps paths in the container to executables to copy there."""
    for folder in FOLDERS:
        (at / folder).mkdir(parents=True, exist_ok=True)
    (at / "tmp").chmod(0o1777)
    shutil.copy(BUSYBOX, at / "bin" / "busybox")
    applets = subprocess.run([BUSYBOX, "--list-full"], capture_output=True, text=True, check=True).stdout.split()
    for link in (at / applet for applet in applets):
        if not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to("/bin/busybox")
    for name, text in FILES.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(text)
    (at / "etc/shadow").chmod(0o640)
    for name, source in programs.items():
        target = at / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        target.chmod(0o755)
    return at
