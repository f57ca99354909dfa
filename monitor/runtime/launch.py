"""From settings to a running service and back to nothing: what `stockade run` and `stockade record` share."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable
from typing import Final

from msgspec import Struct

from monitor.bpf.libbpf import LibbpfError
from monitor.bpf.sensors import Sensors
from monitor.bpf.syscalls import request_filesystem
from monitor.config.settings import Settings
from monitor.host.cgroups import CgroupSupportError, TagHierarchy, find_tag_hierarchy
from monitor.host.notify import ServiceManager
from monitor.host.priority import before_others
from monitor.rules.ruleset import RuleSet
from monitor.runtime.control import ServiceControl
from monitor.runtime.deny_checks import check_denials
from monitor.runtime.errors import KernelSupportError
from monitor.runtime.guarding import require_unguarded
from monitor.runtime.instance import InstanceLock, suggest_for_run_dir
from monitor.runtime.ports import Recorder
from monitor.runtime.rule_sources import load_authored
from monitor.runtime.service import Readiness, Service, ServiceParts, build_sensor_plan, require_privilege
from monitor.runtime.stopping import STOP_SIGNALS, undoing
from monitor.shipped import get_sensors_object
from monitor.sinks.console import ConsoleSink
from monitor.sinks.control import ControlServer
from monitor.sinks.origin import Origin, read_origin, read_wall_offset_ns
from monitor.sinks.stream import EventStream

_LOG: Final = logging.getLogger(__name__)
ORIGIN_EVERY_TICKS: Final = 60
GC_THRESHOLDS: Final = (10_000, 20, 100)


class LaunchOptions(Struct):
    """What one run adds to the settings."""

    console: Callable[[Origin], ConsoleSink] | None = None
    """Makes the console sink, if there is somebody to print for."""
    recorder: Callable[[Origin], Recorder] | None = None
    serve_sockets: bool = True
    duration_s: float | None = None
    on_ready: Callable[[Service, Readiness], None] = lambda _service, _readiness: None


async def launch(settings: Settings, options: LaunchOptions) -> None:
    """Run the service until a signal, the duration's end, or an error.

    Raises:
        RuleErrors: the first load of rules failed.
        StartError: what the host lacks, or another instance; one line.
    """
    authored = load_authored(settings)
    check_denials(authored.rules)
    require_privilege()
    require_unguarded(settings.pin_dir)
    with contextlib.ExitStack() as stack:
        stack.enter_context(before_others())
        if options.serve_sockets:
            lock = InstanceLock(settings.run_dir)
            stack.callback(lock.release)
            stack.enter_context(undoing(lock.release))
        origin = read_origin()
        hierarchy = _find_hierarchy()
        parts = ServiceParts(settings, authored, origin, hierarchy, _load_sensors(settings, authored.rules, hierarchy))
        await _run(parts, options)


def _tame_collector() -> None:
    """What start-up made stays: the collector need not look at it again, nor so often at what events make and drop."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _run(parts: ServiceParts, options: LaunchOptions) -> None:
    console = options.console(parts.origin) if options.console else None
    parts.recorder = options.recorder(parts.origin) if options.recorder else None
    control = ServiceControl()
    manager = ServiceManager()
    stream = _build_stream(parts, control)
    parts.sinks = tuple(sink for sink in (stream, console) if sink is not None)
    service = Service(parts)
    control.bind(service, stream, console, manager)
    stopped = asyncio.Event()
    try:
        readiness = await service.start()
        _handle_signals(stopped, control)
        async with _sockets(parts.settings, stream, control, enabled=options.serve_sockets):
            if console is not None:
                console.start()
            service.on_tick += [manager.keep_alive, _wall_clock_keeper(stream, console)]
            if options.duration_s is not None:
                asyncio.get_running_loop().call_later(options.duration_s, stopped.set)
            _tame_collector()
            options.on_ready(service, readiness)
            manager.report_ready(f"{len(parts.authored.rules.rules)} rules, {readiness.containers} containers")
            await service.run(stopped)
            manager.report_stopping()
            service.stop()
    finally:
        service.close()
        if console is not None:
            console.stop()


@contextlib.asynccontextmanager
async def _sockets(
    settings: Settings, stream: EventStream, control: ServiceControl, *, enabled: bool
) -> AsyncIterator[None]:
    """The two sockets, while the service runs."""
    if not enabled:
        yield
        return
    server = ControlServer(settings.run_dir / "control.sock", control)
    async with contextlib.AsyncExitStack() as started:
        try:
            await stream.start()
            started.push_async_callback(stream.stop)
            await server.start()
            started.push_async_callback(server.stop)
        except OSError as error:
            raise KernelSupportError(
                f"the sockets in {settings.run_dir} cannot be made: {error.strerror} ({suggest_for_run_dir(error)})"
            ) from error
        yield


def _build_stream(parts: ServiceParts, control: ServiceControl) -> EventStream:
    settings = parts.settings
    return EventStream(
        settings.run_dir / "stream.sock",
        parts.origin,
        settings=settings.stream,
        mode=settings.mode,
        status=control.status,
        parse_filter=_parse_filter,
    )


def _parse_filter(text: str) -> Callable[..., bool]:
    from monitor.rules.filters import parse_filter  # noqa: PLC0415  (imported when a subscriber asks for a filter)

    return parse_filter(text)


def _find_hierarchy() -> TagHierarchy:
    try:
        return find_tag_hierarchy()
    except CgroupSupportError as error:
        raise KernelSupportError(str(error)) from error


def _load_sensors(settings: Settings, rules: RuleSet, hierarchy: TagHierarchy) -> Sensors:
    with contextlib.suppress(OSError):  # programs know overlayfs by its types, those of a module by the loaded one
        request_filesystem("overlay")
    try:
        return Sensors(get_sensors_object(), build_sensor_plan(settings, rules, hierarchy))
    except FileNotFoundError as error:
        raise KernelSupportError(str(error)) from error
    except LibbpfError as error:
        if error.log:
            _LOG.debug("libbpf said:\n%s", error.log)
        hint = "run `stockade doctor` for what this host lacks"
        raise KernelSupportError(f"the sensors cannot be loaded: {error.strerror}; {hint}") from error


def _handle_signals(stopped: asyncio.Event, control: ServiceControl) -> None:
    """From here on a stop lets what was begun come to its end; before, :mod:`monitor.runtime.stopping`."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, control.reload_soon)


def _wall_clock_keeper(stream: EventStream, console: ConsoleSink | None) -> Callable[[], None]:
    """Read the distance of the two clocks anew now and then: suspends and clock steps change it."""
    ticks = 0

    def keep() -> None:
        nonlocal ticks
        ticks += 1
        if ticks % ORIGIN_EVERY_TICKS == 0:
            old = stream.origin
            stream.origin = Origin(old.boot_id, old.host_name, read_wall_offset_ns())
            if console is not None:
                console.origin = stream.origin

    return keep
