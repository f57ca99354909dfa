"""Containers, programs, and events with their surroundings, for what reads contexts."""

from typing import Any

from monitor.engine.images import ImageBuilder
from monitor.model.container import Container
from monitor.model.events import AnyEvent, ProcessExec
from monitor.model.ids import CgroupId, ProcessKey, Tgid
from monitor.model.process import Context, Process, ProcessImage
from tests.support.make.events import HOST_CGROUP, SHELL, exec

CONTAINER_ID = "c0ffee" * 10 + "beef"
CONTAINER_CGROUP = 4_242


def container(container_id: str = CONTAINER_ID, **facts: Any) -> Container:
    """A docker container as its cgroup's path tells it."""
    defaults = {
        "runtime": "docker",
        "cgroup_id": CONTAINER_CGROUP,
        "cgroup_path": f"/docker/{container_id}",
        "pending": True,
    }
    return Container(container_id, **{**defaults, **facts})


def image(executable: str = "/usr/bin/id", **facts: Any) -> ProcessImage:
    return ImageBuilder().build(exec(executable, **facts))


def context(event: AnyEvent, *, container: Container | None = None, program: ProcessImage | None = None) -> Context:
    """An event with its surroundings, for what reads contexts."""
    program = program or (image(event.executable) if isinstance(event, ProcessExec) else image())
    key = ProcessKey(Tgid(getattr(event, "tgid", 0)), getattr(event, "start_boottime_ns", 0))
    process = Process(key, program, program.exec.exec_id, CgroupId(HOST_CGROUP), SHELL, None)
    return Context(event, process, program, None, container)
