"""A property that is worked out once, when it is first asked for.

``functools.cached_property`` of Python 3.11 takes a lock for it, which costs as much as
some of the facts; here one thread asks.
"""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class Lazy(Generic[T]):
    """Use it as a decorator; the object needs a ``__dict__``."""

    def __init__(self, work_out: Callable[[Any], T]) -> None:  # Any: of whichever class it decorates
        self._work_out = work_out
        self.__doc__ = work_out.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        value = self._work_out(instance)
        # Found there from now on: a descriptor that cannot be set comes after the object's own names.
        instance.__dict__[self._name] = value
        return value
