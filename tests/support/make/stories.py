"""A coherent run of events: processes that fork, execute, open files and exit, with their keys, numbers and times."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from monitor.model.events import AnyEvent, Namespaces
from tests.support.make.events import (
    HOST_CGROUP,
    SECOND,
    SHELL,
    Actor,
    cgroup_attach,
    cgroup_create,
    exec,
    exit,
    file_change,
    file_open,
    fork,
    tick,
)


@dataclass
class Story:
    """Writes events down as they happen; each step takes a millisecond."""

    now_ns: int = 1_000 * SECOND
    events: list[AnyEvent] = field(default_factory=list)
    next_tgid: int = 2_000
    on_event: Callable[[AnyEvent], Any] | None = None

    def actor(self, tgid: int = SHELL.tgid, start: int = SHELL.start_boottime_ns, exec_id: int = 1) -> Actor:
        return Actor(tgid, start, exec_id, HOST_CGROUP)

    def tell(self, event: AnyEvent) -> AnyEvent:
        self.events.append(event)
        if self.on_event:
            self.on_event(event)
        return event

    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)

    def _facts(self, actor: Actor) -> dict[str, Any]:
        self.now_ns += SECOND // 1_000
        return {
            "ktime_ns": self.now_ns,
            "tgid": actor.tgid,
            "start_boottime_ns": actor.start,
            "exec_id": actor.exec_id,
            "cgroup_id": actor.cgroup_id,
            "uid": actor.uid,
        }

    def cgroup(self, path: str, cgroup_id: int) -> int:
        self.now_ns += SECOND // 1_000
        self.tell(cgroup_create(path, cgroup_id, self.now_ns))
        return cgroup_id

    def fork(self, parent: Actor, *, cgroup_id: int | None = None, tgid: int | None = None) -> Actor:
        self.next_tgid += 1
        self.now_ns += SECOND // 1_000
        child = replace(parent, tgid=tgid or self.next_tgid, start=self.now_ns)
        if cgroup_id is not None:
            child.cgroup_id = cgroup_id
        facts = self._facts(child)
        self.tell(
            fork(
                **facts,
                parent_tgid=parent.tgid,
                parent_start_boottime_ns=parent.start,
                parent_exec_id=parent.exec_id,
            )
        )
        return child

    def exec(self, actor: Actor, executable: str, *args: str, **facts: Any) -> Actor:
        actor.exec_id += 1
        mounts = Namespaces(mnt=actor.mounts, pid=4_026_531_836)
        known = {**self._facts(actor), "args": (executable.rpartition("/")[2], *args), "namespaces": mounts}
        self.tell(exec(executable, **{**known, **facts}))
        return actor

    def run(self, parent: Actor, executable: str, *args: str, **facts: Any) -> Actor:
        """Fork and execute."""
        return self.exec(self.fork(parent), executable, *args, **facts)

    def move(self, actor: Actor, path: str, cgroup_id: int) -> None:
        self.now_ns += SECOND // 1_000
        actor.cgroup_id = cgroup_id
        self.tell(cgroup_attach(path, cgroup_id, actor, self.now_ns))

    def open(self, actor: Actor, path: str, **facts: Any) -> None:
        self.tell(file_open(path, **{**self._facts(actor), **facts}))

    def change(self, actor: Actor, path: str, action: str = "rename", **facts: Any) -> None:
        """It changes a file, or a name of it."""
        self.tell(file_change(path, action, **{**self._facts(actor), **facts}))

    def exit(self, actor: Actor) -> None:
        self.tell(exit(**self._facts(actor)))

    def tick(self) -> None:
        self.now_ns += SECOND // 1_000
        self.tell(tick(self.now_ns))
