"""Tell when a mount namespace changes: a container's overlay is mounted long before its first process is made."""

import asyncio
import os
import select
from collections.abc import Callable


class MountWatch:
    """Calls back on the running event loop, until :meth:`stop`."""

    def __init__(self, pid: int, on_change: Callable[[], None]) -> None:
        """Watch the mount namespace of a process.

        Raises:
            OSError: there is no such process, or no descriptor left.
        """
        self._mounts = os.open(f"/proc/{pid}/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        # Such a file can always be read; a change is an exceptional condition (proc_pid_mounts(5)), which asyncio
        # knows nothing of, and an epoll that has something to tell can be read. The kernel tells of a change once,
        # and asyncio's own look was that.
        self._epoll = select.epoll()
        self._epoll.register(self._mounts, select.EPOLLPRI | select.EPOLLERR)
        asyncio.get_running_loop().add_reader(self._epoll, on_change)

    def stop(self) -> None:
        """Watch no longer."""
        asyncio.get_running_loop().remove_reader(self._epoll)
        self._epoll.close()
        os.close(self._mounts)
