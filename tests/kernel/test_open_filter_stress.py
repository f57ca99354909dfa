"""No chain tag dismisses an open that a prefix matches, whatever is renamed, exchanged, removed, mounted and unmounted.

A test-only build of the sensor walks the path of every open that a tag dismisses, and counts
those that the policy would have wanted (``open_oracle.bpf.c``).
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.model.interest import OpenPattern, PatternKind
from tests.support.bpf_build import EBPF, build_bpf
from tests.support.open_sensor import VARIANTS, OpenSensor
from tests.support.programs import build_programs

pytestmark = pytest.mark.kernel

HERE = Path(__file__).resolve().parent
KINDS = ("plain", "tmpfs", "overlay")
HITS_MIN = 300
"""A run with fewer proves nothing."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oracle")
    build_oracle(EBPF, folder / "oracle.bpf.o")
    build_programs(HERE / "programs", folder)
    return folder


def build_oracle(sensor: Path, target: Path) -> None:
    """Build the oracle around the sensor whose sources are in ``sensor``."""
    build_bpf(HERE / "open_oracle.bpf.c", target, f'-DSENSOR="{sensor / "file.bpf.c"}"', include=sensor / "include")


@pytest.fixture(params=VARIANTS)
def oracle(built: Path, request: pytest.FixtureRequest) -> Iterator[OpenSensor]:
    with OpenSensor(request.param, built / "oracle.bpf.o") as sensor:
        yield sensor


def watch(sensor: OpenSensor, root: Path) -> None:
    """Prefixes that whole directories fall under, that begin a name, and that lie deep."""
    texts = ("/hot/", "/a/b/hot", "/c/deep/", "/b/c/a/hot/", "/deep/hot.")
    sensor.watch(OpenPattern(PatternKind.PREFIX, f"{root}{text}".lower()) for text in texts)


def read_counter(sensor: OpenSensor, name: str) -> int:
    return int.from_bytes(sensor.object.variable_view(name), "little")


def shake(sensor: OpenSensor, built: Path, root: Path, kind: str, *, turns: int, processes: int, seed: int) -> int:
    """Run the stress; answers how many opens it made."""
    watch(sensor, root)
    command = [built / "open_stress", root, kind, str(seed), str(turns), str(processes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def assert_no_stale_hits(sensor: OpenSensor, opened: int) -> None:
    hits, stale, moved, no_slot = (
        read_counter(sensor, f"oracle_{name}") for name in ("hits", "stale", "moved", "no_slot")
    )
    print(f"{opened} opens, {hits} dismissed by tag, {stale} stale, {moved} moved meanwhile, {no_slot} not looked at")
    path = bytes(sensor.object.variable_view("oracle_path")).partition(b"\0")[0].decode()
    assert hits >= HITS_MIN
    assert no_slot <= hits // 10
    assert stale == 0, f"{stale} of {hits} dismissals by tag were wrong, the last of {path}"


@pytest.mark.parametrize("kind", KINDS)
def test_no_tag_outlives_its_directories(oracle: OpenSensor, built: Path, tmp_path: Path, kind: str) -> None:
    opened = shake(oracle, built, tmp_path, kind, turns=4000, processes=2, seed=1)

    assert_no_stale_hits(oracle, opened)


WHOLE_CHAIN = "	level++;\n"


@pytest.mark.parametrize("kind", KINDS)
def test_the_oracle_sees_a_tag_that_knows_the_last_directory_alone(built: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(EBPF, tmp_path / "ebpf", ignore=shutil.ignore_patterns("build"))
    header = tmp_path / "ebpf" / "include" / "chain_tag.bpf.h"
    text = header.read_text()
    assert text.count(WHOLE_CHAIN) == 1
    header.write_text(text.replace(WHOLE_CHAIN, "	return CHAIN_WHOLE;\n"))
    build_oracle(tmp_path / "ebpf", tmp_path / "oracle.bpf.o")
    (root := tmp_path / "root").mkdir()

    with OpenSensor("cast", tmp_path / "oracle.bpf.o") as sensor:
        shake(sensor, built, root, kind, turns=4000, processes=2, seed=1)

        assert read_counter(sensor, "oracle_stale") > 0


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_no_tag_outlives_its_directories_for_long(
    oracle: OpenSensor, built: Path, tmp_path: Path, kind: str, processes: int
) -> None:
    opened = sum(
        shake(oracle, built, folder, kind, turns=100_000 // processes, processes=processes, seed=seed)
        for seed in range(1, 6)
        for folder in [tmp_path / str(seed)]
        if not folder.mkdir()
    )

    assert_no_stale_hits(oracle, opened)
