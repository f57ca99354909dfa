"""Process trees that a test makes and may kill: they are no children of the test run itself, which is spared."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monitor.model.ids import ProcessKey
from tests.support.proc_facts import get_facts

_LAUNCHER = """\
import subprocess, sys
tree = subprocess.Popen(sys.argv[1:], start_new_session=True)
print(tree.pid, flush=True)
sys.stdin.read()
tree.poll() is None and tree.kill()
tree.wait()
"""


class Tree:
    """A process, with all that it makes in its session."""

    def __init__(self, tgid: int) -> None:
        self.tgid = tgid

    @property
    def key(self) -> ProcessKey:
        facts = get_facts(self.tgid)
        return ProcessKey(facts.tgid, facts.start_boottime_ns)

    def living(self) -> dict[int, str]:
        """Those of the session that have not ended: pid -> state and command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.tgid and fields[0] not in "ZX":
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(entry.name)] = f"{fields[0]} {line}"
            except OSError:
                continue
        return found

    def wait_for(self, count: int, timeout_s: float = 10) -> None:
        end = time.monotonic() + timeout_s
        while len(self.living()) < count:
            assert time.monotonic() < end, f"{len(self.living())} of {count} processes"
            time.sleep(0.01)


@contextmanager
def process_tree(*command: str | Path) -> Iterator[Tree]:
    """Run a command as a grandchild of ours, in a session of its own; what is left of that ends with the block."""
    launcher = subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdin and launcher.stdout
    tree = Tree(int(launcher.stdout.readline()))
    try:
        yield tree
    finally:
        for _ in range(50):
            left = tree.living()
            for tgid in left:
                _end(tgid)
            if not left:
                break
            time.sleep(0.01)
        launcher.stdin.close()
        launcher.wait(10)
        launcher.stdout.close()


def _end(tgid: int) -> None:
    try:
        pidfd = os.pidfd_open(tgid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)
