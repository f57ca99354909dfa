"""Turn the processes that run already into exec events, so that the engine's tables have one way in.

The kernel's task iterator (:mod:`monitor.bpf`) says exactly which processes there are
(:class:`~monitor.model.ids.TaskFacts`); this adds what ``/proc`` shows of each and
checks that it is still the same process. The facts are read by a descriptor of each
folder (:mod:`monitor.host.procfs`); psutil reopens it by pid for every fact, and has
neither namespaces nor capabilities.

No rule judges these events (``from_proc``): arguments are what the process' memory
holds now, and of a script only the interpreter is known.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Final

from monitor.host import procfs
from monitor.host.mounts import read_mounts
from monitor.host.statx import FileFacts, read_file_facts
from monitor.model.events import ProcessExec
from monitor.model.ids import TaskFacts, Tgid, Tid

_PROC: Final = Path("/proc")
_NS_PER_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_DELETED: Final = " (deleted)"
_MEMFD: Final = "/memfd:"
_NO_FILE: Final = FileFacts(inode=0, device=0, link_count=0)
_ZOMBIE_STATES: Final = "ZX"


def snapshot_processes(task_facts: Iterable[TaskFacts], proc: Path = _PROC) -> Iterator[ProcessExec]:
    """Yield an event for each of these processes that still runs, parents before children.

    Processes that end meanwhile are left out without a word: their exit was not in the table's interest.
    """
    tmpfs = _TmpfsDevices(proc)
    for facts in _parents_first(task_facts):
        if event := _read_process(facts, proc, tmpfs):
            yield event


def _read_process(facts: TaskFacts, proc: Path, tmpfs: "_TmpfsDevices") -> ProcessExec | None:
    try:
        folder = procfs.open_process(facts.tgid, proc)
    except OSError:
        return None
    try:
        stat = procfs.read_stat(folder)
        if not _is_same(stat.start_ticks, facts.start_boottime_ns):
            return None
        if stat.state in _ZOMBIE_STATES:
            return _read_leaderless(folder, stat, facts, tmpfs)
        return _build_event(folder, stat, facts, tmpfs)
    except OSError:
        return None  # ended while it was read
    finally:
        os.close(folder)


def _read_leaderless(folder: int, stat: procfs.Stat, facts: TaskFacts, tmpfs: "_TmpfsDevices") -> ProcessExec | None:
    """Read a process whose first thread has ended: its other threads show what it runs. A zombie has none."""
    thread = procfs.find_live_thread(folder, facts.tgid)
    if thread is None:
        return None
    try:
        return _build_event(thread, stat, facts, tmpfs)
    finally:
        os.close(thread)


def _build_event(folder: int, stat: procfs.Stat, facts: TaskFacts, tmpfs: "_TmpfsDevices") -> ProcessExec:
    status = procfs.read_status(folder)
    args = procfs.read_args(folder, stat.args_bytes)
    namespaces = procfs.read_namespaces(folder)
    exe = procfs.ProcessPath() if stat.is_kernel_thread else procfs.read_path(folder, "exe")
    cwd = procfs.read_path(folder, "cwd")
    shown = exe.text
    has_file = shown != "" or exe.is_too_long
    file = read_file_facts("exe", dir_fd=folder) if has_file else _NO_FILE
    is_unnamed = file.link_count == 0 and shown.endswith(_DELETED)
    executable = shown.removesuffix(_DELETED) if is_unnamed else shown
    is_memfd = is_unnamed and executable.startswith(_MEMFD)
    return ProcessExec(
        ktime_ns=monotonic_ns(),
        cpu=-1,
        sequence=0,
        cgroup_id=facts.cgroup_id,
        tgid=facts.tgid,
        tid=Tid(facts.tgid),
        start_boottime_ns=facts.start_boottime_ns,
        exec_id=facts.exec_id,
        uid=status.uid,
        executable=executable,
        script="",
        args=args.args,
        args_truncated=args.omitted_bytes > 0,
        cwd=cwd.text,
        parent_tgid=facts.parent_tgid,
        parent_start_boottime_ns=facts.parent_start_boottime_ns,
        gid=status.gid,
        euid=status.euid,
        egid=status.egid,
        login_uid=procfs.read_login_uid(folder),
        session_id=stat.session_id,
        tty=procfs.build_tty_name(stat.tty_number),
        cap_effective=status.cap_effective,
        cap_permitted=status.cap_permitted,
        namespaces=namespaces,
        namespace_tgid=status.namespace_tgid,
        inode=file.inode,
        device=file.device,
        link_count=file.link_count,
        is_32bit=has_file and procfs.is_32bit(folder),
        is_memfd=is_memfd,
        is_deleted=is_unnamed and not is_memfd,
        is_tmpfs=is_memfd or (has_file and tmpfs.has(file.device, namespaces.mnt, facts.tgid)),
        is_path_truncated=exe.is_too_long,
        from_proc=True,
        args_omitted_bytes=args.omitted_bytes,
        args_cut_at=args.cut_at,
        is_cwd_truncated=cwd.is_too_long,
    )


def _is_same(start_ticks: int, start_boottime_ns: int) -> bool:
    """Compare a start time with /proc's, which is cut to ticks (and may differ by one in a time namespace)."""
    return abs(start_ticks - start_boottime_ns // _NS_PER_TICK) <= 1


def _parents_first(task_facts: Iterable[TaskFacts]) -> list[TaskFacts]:
    """Order by depth. Start times alone will not do: in ticks they may be equal, and pids wrap around."""
    by_tgid = {facts.tgid: facts for facts in task_facts}
    depths: dict[Tgid, int] = {}
    for facts in by_tgid.values():
        chain: list[Tgid] = []
        above: TaskFacts | None = facts
        while above and above.tgid not in depths:
            depths[above.tgid] = 0  # ends a circle, which only a torn reading could make
            chain.append(above.tgid)
            above = by_tgid.get(above.parent_tgid)
        depth = depths[above.tgid] + 1 if above else 0
        for tgid in reversed(chain):
            depths[tgid] = depth
            depth += 1
    return sorted(by_tgid.values(), key=lambda facts: (depths[facts.tgid], facts.start_boottime_ns, facts.tgid))


class _TmpfsDevices:
    """Which devices are tmpfs, looked up once for each mount namespace."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._by_namespace: dict[int, frozenset[int]] = {}

    def has(self, device: int, mount_namespace: int, tgid: int) -> bool:
        """Tell whether files of ``device`` are in memory, as the mounts of process ``tgid`` show it."""
        if os.major(device) != 0:
            return False  # a disk
        if mount_namespace not in self._by_namespace:
            self._by_namespace[mount_namespace] = self._read(tgid)
        return device in self._by_namespace[mount_namespace]

    def _read(self, tgid: int) -> frozenset[int]:
        try:
            mounts = read_mounts(self._proc / str(tgid) / "mountinfo")
        except OSError:
            return frozenset()
        return frozenset(mount.device for mount in mounts if mount.filesystem == "tmpfs")
