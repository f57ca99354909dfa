"""The file-open sensor on real opens: how a policy takes effect, and what is dismissed without a walk."""

import os
from pathlib import Path

import pytest

from monitor.bpf.libbpf import LibbpfError
from tests.support.bpf_build import EBPF, build_bpf
from tests.support.open_patterns import exact, paths, prefix, read, touch
from tests.support.open_sensor import COUNTER_OPEN_WALKS, VARIANTS, OpenSensor

pytestmark = pytest.mark.kernel


def test_without_patterns_nothing_is_looked_at(sensor: OpenSensor, tmp_path: Path) -> None:
    before = sensor.count(COUNTER_OPEN_WALKS)

    read(touch(tmp_path / "file"))

    assert sensor.read() == []
    assert sensor.count(COUNTER_OPEN_WALKS) == before


def test_a_new_policy_holds_at_once_and_forgets_what_the_tags_remembered(sensor: OpenSensor, tmp_path: Path) -> None:
    file = touch(tmp_path / "dir" / "file")
    sensor.watch([prefix("/nowhere/")])
    for _ in range(3):
        read(file)
    assert sensor.read() == []

    sensor.watch([prefix(f"{tmp_path}/dir/")])
    read(file)
    assert paths(sensor.read()) == [str(file)]

    sensor.watch([prefix("/nowhere/")])
    read(file)
    assert sensor.read() == []


def test_a_directory_is_walked_once_and_then_remembered(sensor: OpenSensor, tmp_path: Path) -> None:
    files = [touch(tmp_path / f"file{number}") for number in range(20)]
    sensor.watch([prefix("/nowhere/")])
    read(files[0])
    before = sensor.count(COUNTER_OPEN_WALKS)

    for file in files * 10:
        read(file)

    # Other processes open files too: far fewer than ours.
    assert sensor.count(COUNTER_OPEN_WALKS) - before < 150


def test_reads_below_a_prefix_about_writes_are_remembered_as_dull(sensor: OpenSensor, tmp_path: Path) -> None:
    file = touch(tmp_path / "file")
    sensor.watch([prefix(f"{tmp_path}/", reads=False), prefix("/nowhere/")])
    read(file)
    before = sensor.count(COUNTER_OPEN_WALKS)

    for _ in range(200):
        read(file)
    read(file, os.O_WRONLY)

    assert sensor.count(COUNTER_OPEN_WALKS) - before < 150
    assert [event.is_write for event in sensor.read()] == [True]


def test_a_kernel_that_lacks_the_function_loads_the_second_variant_alone(tmp_path: Path) -> None:
    first, second = VARIANTS
    target = tmp_path / "file.bpf.o"
    build_bpf(EBPF / "file.bpf.c", target, "-Dbpf_rdonly_cast=bpf_no_such_kfunc")

    with OpenSensor(second, target) as sensor:
        sensor.watch([exact(touch(tmp_path / "file"))])
        read(tmp_path / "file")
        assert len(sensor.read()) == 1
    with pytest.raises(LibbpfError):
        OpenSensor(first, target)
