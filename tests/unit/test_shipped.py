"""Package data is found in an installation and in a checkout, and what is missing is told with what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.shipped import (
    get_enforcement_object,
    get_inspection_object,
    get_sensors_object,
    get_shipped_response,
    get_shipped_rules,
)

CHECKOUT = Path(__file__).resolve().parents[2]
IN_PACKAGE = {
    get_shipped_rules: "_data/rules",
    get_sensors_object: "_data/bpf/sensors.bpf.o",
    get_enforcement_object: "_data/bpf/enforce.bpf.o",
    get_inspection_object: "_data/bpf/inspect.bpf.o",
}
IN_CHECKOUT = {
    get_shipped_rules: "rules",
    get_sensors_object: "ebpf/build/sensors.bpf.o",
    get_enforcement_object: "ebpf/build/enforce.bpf.o",
    get_inspection_object: "ebpf/build/inspect.bpf.o",
}


@pytest.mark.parametrize("get", IN_PACKAGE)
def test_an_installed_package_uses_its_own_copy_first(get: Callable[[Path], Path], tmp_path: Path) -> None:
    package = tmp_path / "monitor"
    built = tmp_path / IN_CHECKOUT[get]
    built.mkdir(parents=True)
    assert get(package) == built

    packed = package / IN_PACKAGE[get]
    packed.mkdir(parents=True)
    assert get(package) == packed


def test_a_checkout_uses_its_rules_folder() -> None:
    assert get_shipped_rules() == CHECKOUT / "rules"
    assert get_shipped_response() == CHECKOUT / "rules/response.yml"


@pytest.mark.parametrize(
    ("get", "mend"),
    [
        (get_shipped_rules, "install Stockade again"),
        (get_sensors_object, "make -C ebpf"),
        (get_enforcement_object, "make -C ebpf"),
    ],
)
def test_a_package_without_data_says_what_to_do(get: Callable[[Path], Path], mend: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=mend):
        get(tmp_path / "monitor")


def test_missing_response_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()

    with pytest.raises(FileNotFoundError, match=r"response\.yml.*install Stockade again"):
        get_shipped_response(tmp_path / "monitor")
