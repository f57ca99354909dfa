"""Where what comes with Stockade is: the shipped rules, their response policy, the compiled sensors.

An installed package has them as data in ``monitor/_data`` (packed there by setup.py), a checkout where they are
written or built. Nothing is read here.
"""

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parent


def get_shipped_rules(package: Path = _PACKAGE) -> Path:
    """Answer the folder of the shipped rules.

    Raises:
        FileNotFoundError: there is none: the package was built without its data.
    """
    places = package / "_data" / "rules", package.parent / "rules"
    return _get("the shipped rules are missing", places, "install Stockade again")


def get_shipped_response(package: Path = _PACKAGE) -> Path:
    """Answer the ``response.yml`` that holds where /etc/stockade has none.

    Raises:
        FileNotFoundError: the shipped rules are missing, or have none.
    """
    place = get_shipped_rules(package) / "response.yml"
    return _get("the shipped response policy is missing", (place,), "install Stockade again")


def get_sensors_object(package: Path = _PACKAGE) -> Path:
    """Answer the linked sensors, one BPF object.

    Raises:
        FileNotFoundError: they were not built.
    """
    return _get_object("sensors.bpf.o", package)


def get_enforcement_object(package: Path = _PACKAGE) -> Path:
    """Answer the object of what denies.

    Raises:
        FileNotFoundError: it was not built.
    """
    return _get_object("enforce.bpf.o", package)


def get_guard_object(package: Path = _PACKAGE) -> Path:
    """Answer the object of the guards.

    Raises:
        FileNotFoundError: it was not built.
    """
    return _get_object("guard.bpf.o", package)


def _get_object(name: str, package: Path) -> Path:
    places = package / "_data" / "bpf" / name, package.parent / "ebpf" / "build" / name
    return _get("the BPF objects are not built", places, "run `make -C ebpf` in the checkout (scripts/run does)")


def get_inspection_object(package: Path = _PACKAGE) -> Path:
    """Answer the object that tells which file a descriptor is.

    Raises:
        FileNotFoundError: it was not built.
    """
    places = package / "_data" / "bpf" / "inspect.bpf.o", package.parent / "ebpf" / "build" / "inspect.bpf.o"
    return _get("the BPF objects are not built", places, "run `make -C ebpf` in the checkout (scripts/run does)")


def _get(lack: str, places: tuple[Path, ...], mend: str) -> Path:
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(f"{lack} (looked for {', '.join(map(str, places))}): {mend}")
