"""Which rules the terms of each policy were, on disk: denials of a time when no service ran have names too."""

import contextlib
import logging
import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from monitor.model.events import PolicyChange

_LOG: Final = logging.getLogger(__name__)
NAME: Final = "policies.json"
POLICIES_MAX: Final = 16
_BYTES_MAX: Final = 4 << 20


class _Book(Struct):
    boot_id: str = ""
    policies: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Ids of the rules, by generation and term."""


class PolicyBook:
    """The last policies of this boot. What cannot be read or written costs names only, and is logged."""

    def __init__(self, state_dir: Path, boot_id: str) -> None:
        self._path = state_dir / NAME
        self._book = self._read()
        if self._book.boot_id != boot_id:
            self._book = _Book(boot_id)

    @property
    def last_generation(self) -> int:
        """Highest number given so far; 0: none."""
        return max(self._book.policies, default=0)

    def list_changes(self, ktime_ns: int) -> list[PolicyChange]:
        """What the engine has to know of the policies of before."""
        return [PolicyChange(ktime_ns, generation, ids) for generation, ids in sorted(self._book.policies.items())]

    def write(self, generation: int, rule_ids: tuple[str, ...]) -> None:
        """Remember a policy, before it is in force."""
        policies = self._book.policies | {generation: rule_ids}
        self._book.policies = dict(sorted(policies.items())[-POLICIES_MAX:])
        temporary = self._path.with_suffix(f".{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_bytes(msgspec.json.encode(self._book))
            temporary.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            _LOG.warning(
                "%s cannot be written: %s (denials after a crash will lack their rules)", self._path, error.strerror
            )

    def _read(self) -> _Book:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(_BYTES_MAX), type=_Book)
        except FileNotFoundError:
            return _Book()
        except (OSError, msgspec.MsgspecError) as error:
            _LOG.warning("%s cannot be read: %s", self._path, error)
            return _Book()
