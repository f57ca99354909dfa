"""What clients may ask of the two sockets. Turns payloads into requests and checks them.

Pure. Everything is typed and bounded; an unknown key, operation or version is an error.
"""

from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from monitor.sinks.frames import FrameError

PROTOCOL_VERSION: Final = 1

FilterText = Annotated[str, Meta(max_length=4_096)]
ContainerText = Annotated[str, Meta(min_length=1, max_length=512)]
PathGlob = Annotated[str, Meta(min_length=1, max_length=4_096)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Duration = Annotated[float, Meta(ge=0, le=10 * 365 * 86_400)]
WallTime = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class Request(Struct, frozen=True, forbid_unknown_fields=True, tag_field="op"):
    """Anything a client asks."""


class SubscribeRequest(Request, frozen=True, forbid_unknown_fields=True, tag="subscribe"):
    """Send events and alerts, first from the history, then live."""

    version: int = PROTOCOL_VERSION
    alerts: bool = False
    """Alerts alone."""
    filter: FilterText | None = None
    """In the rule language; see docs/rules.md."""
    container: ContainerText | None = None
    """Name, id (12 characters do), ``pod/NAME``, or ``host`` for what is in none."""
    last: Count | None = None
    """At most so many of the newest matching records of the history."""
    since_ns: WallTime | None = None
    """History from this wall time on, nanoseconds of CLOCK_REALTIME."""
    follow: bool = True
    """Go on with what happens from now on."""


class StatusRequest(Request, frozen=True, forbid_unknown_fields=True, tag="status"):
    """Send the status document."""


class ObserveRequest(Request, frozen=True, forbid_unknown_fields=True, tag="observe"):
    """Stream opens of these files, as long as this connection lasts (control socket)."""

    path: PathGlob
    container: Literal["any", "none", "all"] = "all"
    """``any`` (containers only), ``none`` (host only) or ``all``."""
    access: Literal["any", "read", "write"] = "any"


class ReloadRequest(Request, frozen=True, forbid_unknown_fields=True, tag="reload"):
    """Read the rules again (control socket)."""


class RespondRequest(Request, frozen=True, forbid_unknown_fields=True, tag="respond"):
    """Kill, freeze or thaw a container (control socket)."""

    action: Literal["kill", "freeze", "thaw"]
    container: ContainerText
    """Name, id (its beginning will do) or ``pod/NAME``."""
    for_s: Duration = 0.0
    """How long to stay frozen; 0: until it is thawed."""


StreamRequest = SubscribeRequest | StatusRequest
ControlRequest = StatusRequest | ObserveRequest | ReloadRequest | RespondRequest

T = TypeVar("T")

_stream_decoder: Final[msgspec.msgpack.Decoder[StreamRequest]] = msgspec.msgpack.Decoder(StreamRequest)
_control_decoder: Final[msgspec.msgpack.Decoder[ControlRequest]] = msgspec.msgpack.Decoder(ControlRequest)


def parse_stream_request(payload: bytes) -> StreamRequest:
    """Read a request to ``stream.sock``. Raises :class:`~monitor.sinks.frames.FrameError`."""
    request = _decode(_stream_decoder, payload)
    if isinstance(request, SubscribeRequest) and request.version != PROTOCOL_VERSION:
        raise FrameError(f"protocol version {request.version}; this service speaks {PROTOCOL_VERSION}")
    return request


def parse_control_request(payload: bytes) -> ControlRequest:
    """Read a request to ``control.sock``. Raises :class:`~monitor.sinks.frames.FrameError`."""
    return _decode(_control_decoder, payload)


def _decode(decoder: msgspec.msgpack.Decoder[T], payload: bytes) -> T:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise FrameError(f"not a request: {error}") from error
