"""Freeze, thaw and kill one container: jobs that yield where they would wait for the kernel.

The cgroup is opened by its id, so that nothing that is renamed, removed or made anew
meanwhile can stand in for it. What a job cannot do is an outcome with the reason.
"""

import contextlib
import errno
import os
from collections.abc import Generator, Iterator
from typing import Final

from monitor.model.ids import CgroupId
from monitor.model.responses import DONE, FAILED, POLICY, UNCHANGED, FrozenContainer, Order, Outcome
from monitor.responders.freezer import Freezer, has_file, is_populated, write_file
from monitor.responders.frozen import FrozenBook
from monitor.responders.ports import Host
from monitor.responders.process_kill import kill_strays
from monitor.responders.signals import kill_members

FREEZE_NS: Final = 3_000_000_000
"""For the last process to stop; one that waits in the kernel takes longer, and freezes when it is back."""
THAW_NS: Final = 3_000_000_000
MOVE_NS: Final = 500_000_000
KILL_NS: Final = 10_000_000_000
HOLD_NS: Final = 1_000_000_000
"""Of a container that is being killed, to be frozen as a whole."""
TEXT_MAX: Final = 1_000
FIRST_TGID: Final = 1
_GONE: Final = (errno.ENOENT, errno.ENODEV)
_NS: Final = 1_000_000_000

Job = Generator[None, None, Outcome]


class NotOurs(Exception):
    """A cgroup that no response may hit; the text says why."""


@contextlib.contextmanager
def opened(host: Host, cgroup_id: CgroupId) -> Iterator[int]:
    """A cgroup's directory, closed at the end. Raises ``OSError``."""
    folder = host.folders.open(cgroup_id)
    try:
        yield folder
    finally:
        os.close(folder)


def freeze_container(host: Host, book: FrozenBook, order: Order) -> Job:
    """Stop every process of a container until the order's time is over."""
    assert order.container is not None
    known = book.find(order.container.id)
    if known is not None:
        return _prolong(host, book, known, order)
    with opened(host, order.container.cgroup_id) as own:
        processes = _list_unless_ours(host, own)
    freezer_id = yield from _find_freezer(host, order.container.cgroup_id)
    with opened(host, freezer_id) as folder:
        freezer = Freezer(folder)
        if freezer.is_asked():
            return Outcome(order, UNCHANGED, 0, "it is frozen already, and not by stockade (paused?)")
        book.add(_build_entry(host, order, freezer_id))  # first, so that a crash from here on leaves nobody frozen
        try:
            yield from _ask_until(host, freezer, frozen=True, timeout_ns=FREEZE_NS)
        except OSError:
            book.remove(order.container.id)
            raise
        note = "" if freezer.is_frozen() else "not every process has stopped yet: some wait in the kernel"
    outside = len(order.keys)
    if outside:
        note = f"{outside} of its processes have left its cgroup and run on; {note}".rstrip("; ")
    if book.save_error:
        note = f"{note}; not written to {book.save_error}".lstrip("; ")
    return Outcome(order, DONE, len(processes), note)


def thaw_container(host: Host, book: FrozenBook, order: Order) -> Job:
    """Let a container run again that we froze."""
    assert order.container is not None
    entry = book.find(order.container.id)
    if entry is None:
        return Outcome(order, UNCHANGED, 0, _describe_unfrozen(host, order.container.cgroup_id))
    try:
        with opened(host, entry.freezer_id) as folder:
            freezer = Freezer(folder)
            was_asked = freezer.is_asked()
            yield from _ask_until(host, freezer, frozen=False, timeout_ns=THAW_NS)
            note = "a cgroup above it is frozen too: it does not run yet" if freezer.is_frozen() else ""
    except OSError as error:
        if error.errno not in _GONE:
            raise
        book.remove(entry.container_id)
        return Outcome(order, UNCHANGED, 0, "it ended while it was frozen")
    book.remove(entry.container_id)
    if not was_asked:
        return Outcome(order, UNCHANGED, 0, "somebody else has thawed it")
    return Outcome(order, DONE, 0, note)


def kill_container(host: Host, book: FrozenBook, order: Order) -> Job:
    """Kill every process of a container, however fast it forks, those too that have left its cgroup."""
    assert order.container is not None
    with opened(host, order.container.cgroup_id) as folder:
        killed = len(_list_unless_ours(host, folder))
        end_ns = host.now_boottime_ns() + KILL_NS
        try:
            if has_file(folder, "cgroup.kill") and killed:
                is_empty = yield from _kill_by_cgroup(host, folder, end_ns)
            else:
                is_empty = yield from _kill_by_signals(host, order.container.cgroup_id, folder, end_ns)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            is_empty = True  # removed: nobody is left in it
    if order.keys:
        killed += yield from kill_strays(host, order.container, order.keys)
    book.remove(order.container.id)
    if not killed:
        return Outcome(order, UNCHANGED, 0, "no process was left in it")
    note = (
        "" if is_empty else "not every process has ended yet: some wait in the kernel, or it forks faster than it dies"
    )
    return Outcome(order, DONE, killed, note, order.keys)


def adopt_entry(host: Host, book: FrozenBook, entry: FrozenContainer) -> bool:
    """Whether a container that an earlier run froze still is; else it is forgotten. What cannot be told is kept."""
    try:
        with opened(host, entry.freezer_id) as folder:
            is_frozen = Freezer(folder).is_asked()
    except OSError as error:
        is_frozen = error.errno not in _GONE
    if not is_frozen:
        book.remove(entry.container_id)
    return is_frozen


# --- steps ------------------------------------------------------------------------------------


def _list_unless_ours(host: Host, folder: int) -> list[int]:
    """The processes of a container. Raises :class:`NotOurs` where the monitor or the first process is one of them."""
    processes = host.folders.list_processes(folder)
    if host.own_tgid in processes:
        raise NotOurs("the monitor itself runs in it")
    if FIRST_TGID in processes:
        raise NotOurs("the first process runs in it")
    return processes


def _prolong(host: Host, book: FrozenBook, known: FrozenContainer, order: Order) -> Outcome:
    """A verdict on a container that is frozen may lengthen its time and never shortens it; an admin is told."""
    now_ns = host.now_boottime_ns()
    left = f", for another {max(0, known.until_boottime_ns - now_ns) // _NS} s" if known.until_boottime_ns else ""
    if order.asked_by != POLICY:
        return Outcome(order, UNCHANGED, 0, f"it is frozen already{left}: thaw it first")
    until_ns = now_ns + int(order.for_s * _NS) if order.for_s else 0
    if known.until_boottime_ns and (not until_ns or until_ns > known.until_boottime_ns):
        book.add(known._replace(until_boottime_ns=until_ns))
    return Outcome(order, DONE, 0, "it was frozen already")


def _build_entry(host: Host, order: Order, freezer_id: CgroupId) -> FrozenContainer:
    assert order.container is not None
    now_ns = host.now_boottime_ns()
    return FrozenContainer(
        container_id=order.container.id[:TEXT_MAX],
        name=order.container.name[:TEXT_MAX],
        cgroup_id=order.container.cgroup_id,
        freezer_id=freezer_id,
        since_boottime_ns=now_ns,
        until_boottime_ns=now_ns + int(order.for_s * _NS) if order.for_s else 0,
        reason=order.reason[:TEXT_MAX],
    )


def _find_freezer(host: Host, cgroup_id: CgroupId) -> Generator[None, None, CgroupId]:
    """The cgroup to freeze. Asked again for a moment: a runtime's task may be on its way between cgroups."""
    end_ns = host.now_boottime_ns() + MOVE_NS
    while True:
        try:
            return host.folders.find_freezer(cgroup_id)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP or host.now_boottime_ns() >= end_ns:
                raise
        yield


def _ask_until(host: Host, freezer: Freezer, *, frozen: bool, timeout_ns: int) -> Generator[None, None, None]:
    """Ask, again while the kernel is busy, and wait until it is so or the time is over. Raises ``OSError``."""
    end_ns = host.now_boottime_ns() + timeout_ns
    while True:
        try:
            freezer.ask(frozen=frozen)
            break
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EAGAIN) or host.now_boottime_ns() >= end_ns:
                raise
        yield
    while freezer.is_frozen() is not frozen and host.now_boottime_ns() < end_ns:
        yield


def _kill_by_cgroup(host: Host, folder: int, end_ns: int) -> Generator[None, None, bool]:
    """One write reaches every process of the cgroup and below, forks under way included (Linux 5.14)."""
    write_file(folder, "cgroup.kill", "1")
    while is_populated(folder):
        if host.now_boottime_ns() >= end_ns:
            return False
        yield
    return True


def _kill_by_signals(host: Host, cgroup_id: CgroupId, folder: int, end_ns: int) -> Generator[None, None, bool]:
    """Freeze, so that nobody forks; kill; thaw, so that they die (on v1 the frozen do not); until nobody is left."""
    while host.folders.list_processes(folder):
        if host.now_boottime_ns() >= end_ns:
            return False
        with contextlib.ExitStack() as stack:
            yield from _hold_still(host, cgroup_id, stack)
            kill_members(lambda: host.folders.list_processes(folder))
        yield
    return True


def _hold_still(host: Host, cgroup_id: CgroupId, stack: contextlib.ExitStack) -> Generator[None, None, None]:
    """Freeze until the stack ends; without a freezer the rounds alone must do."""
    with contextlib.suppress(OSError):
        freezer = Freezer(stack.enter_context(opened(host, host.folders.find_freezer(cgroup_id))))
        stack.callback(freezer.ask, frozen=False)
        yield from _ask_until(host, freezer, frozen=True, timeout_ns=HOLD_NS)


def describe_error(error: OSError) -> str:
    """One line: what the kernel said, and what to do where that is known."""
    text = error.strerror or str(error)
    if error.errno in _GONE:
        return f"it has ended ({text})" if text != os.strerror(error.errno) else "it has ended"
    if error.errno == errno.EROFS:
        return (
            f"{text}: the cgroup file system is mounted read-only for the service (ProtectControlGroups=no in its unit)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{text}: the service lacks CAP_KILL or CAP_DAC_OVERRIDE (see CapabilityBoundingSet= in its unit)"
    return text


def fail(order: Order, error: Exception) -> Outcome:
    """The outcome of a job that could not go on."""
    if isinstance(error, OSError):
        result = UNCHANGED if error.errno in _GONE else FAILED
        return Outcome(order, result, 0, describe_error(error))
    return Outcome(order, FAILED, 0, str(error))


def _describe_unfrozen(host: Host, cgroup_id: CgroupId) -> str:
    with contextlib.suppress(OSError), opened(host, host.folders.find_freezer(cgroup_id)) as folder:
        if Freezer(folder).is_asked():
            return "it is frozen, but not by stockade: thaw it with what froze it (such as docker unpause)"
    return "it is not frozen"
