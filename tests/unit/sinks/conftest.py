from collections.abc import Iterator

import pytest

from tests.unit.sinks.serving import RunningStream, running_stream


@pytest.fixture
def served() -> Iterator[RunningStream]:
    with running_stream() as stream:
        yield stream
