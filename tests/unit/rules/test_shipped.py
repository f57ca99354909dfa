from pathlib import Path

import pytest

from monitor.rules.shipped import get_shipped_response, get_shipped_rules


def test_an_installed_package_uses_its_own_copy_first(tmp_path: Path) -> None:
    packed, checkout = tmp_path / "_data", tmp_path / "rules"
    packed.mkdir()
    checkout.mkdir()

    assert get_shipped_rules((packed, checkout)) == packed


def test_a_checkout_uses_its_rules_folder() -> None:
    assert get_shipped_rules() == Path(__file__).resolve().parents[3] / "rules"


def test_a_package_without_data_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="install Stockade again"):
        get_shipped_rules((tmp_path / "nothing",))


def test_missing_response_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"response\.yml"):
        get_shipped_response((tmp_path,))
