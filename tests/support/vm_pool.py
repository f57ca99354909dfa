"""Guests beside each other: one CPU of this machine emulates one guest, so as many run at once as there are CPUs.

The jobs of all collected tests are begun, in their order, when the first of these tests begins; each test waits for its
own. They come last in a whole run, so no test whose timing counts runs meanwhile.
"""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import pytest

from tests.support.vm import end_guests
from tests.support.vm_kernel import FetchError


@runtime_checkable
class GuestJob(Protocol):
    """Something that a guest does; equal jobs are done once."""

    def run(self, results: Path) -> Any:
        """Do it, with a folder of its own to share with the guest; its answer, or error, is the test's."""


class GuestPool:
    """Running jobs. Leaving it ends the guests that still run."""

    def __init__(self, jobs: Iterable[GuestJob], folder: Path, *, at_once: int | None = None) -> None:
        """``at_once``: how many, if not as many as there are CPUs."""
        self._folder = folder
        self._threads = ThreadPoolExecutor(at_once or os.cpu_count(), "guest")
        self._running: Mapping[GuestJob, Future[Any]] = {
            job: self._threads.submit(self._run, job, folder / str(number))
            for number, job in enumerate(dict.fromkeys(jobs))
        }

    @staticmethod
    def _run(job: GuestJob, results: Path) -> Any:
        results.mkdir()
        return job.run(results)

    def answer(self, job: GuestJob) -> Any:
        """What the job has answered, once it is done. Raises what the job has raised."""
        try:
            return self._running[job].result()
        except FetchError as error:
            pytest.skip(str(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        end_guests(self._folder)
        self._threads.shutdown()
