"""Start the gate's processes, and know their end."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import monitor

_PACKAGES: Final = Path(monitor.__file__).resolve().parents[1]


def start_gate() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start ``python -m monitor.gate``; answers the watchdog's process and our end of the socket.

    Raises:
        OSError: no process, no socket.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-s", "-P", "-m", "monitor.gate", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            cwd="/",
            env={"PATH": os.defpath, "PYTHONPATH": str(_PACKAGES), "PYTHONUTF8": "1"},
            start_new_session=True,  # an interrupt at the terminal is the service's
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours
