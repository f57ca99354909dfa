"""The file-open sensor on opens that fail."""

import os
from pathlib import Path

import pytest

from tests.support.open_patterns import exact, paths, read, suffix
from tests.support.open_sensor import OpenSensor

pytestmark = pytest.mark.kernel


def test_failed_opens_are_reported_when_asked_for_and_their_path_is_a_claim(sensor: OpenSensor, tmp_path: Path) -> None:
    sensor.watch([exact(tmp_path / "asked", failed=True), exact(tmp_path / "not-asked"), suffix(".gone", failed=True)])

    for name in ("asked", "not-asked", "a.gone", "other"):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / name, os.O_WRONLY)
    events = sensor.read()

    assert paths(events) == [str(tmp_path / "asked"), str(tmp_path / "a.gone")]
    assert all(event.is_path_claimed and event.errno == 2 and event.fd == -1 and event.is_write for event in events)
