"""Where the rules that come with Stockade are.

An installed package has them as data in ``monitor/_data/rules`` (packed there by setup.py); a checkout has them in
``rules/``. Reading them is :mod:`monitor.rules.loader`.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
CANDIDATES = (_PACKAGE / "_data" / "rules", _PACKAGE.parent / "rules")
"""In the order in which they are looked for."""


def get_shipped_rules(candidates: tuple[Path, ...] = CANDIDATES) -> Path:
    """Answer the folder of the shipped rules.

    Raises:
        FileNotFoundError: there is none: the package was built without its data.
    """
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    looked = ", ".join(map(str, candidates))
    raise FileNotFoundError(f"the shipped rules are missing (looked for {looked}): install Stockade again")


def get_shipped_response(candidates: tuple[Path, ...] = CANDIDATES) -> Path:
    """Answer the ``response.yml`` that holds where /etc/stockade has none.

    Raises:
        FileNotFoundError: the shipped rules are missing, or have none.
    """
    response = get_shipped_rules(candidates) / "response.yml"
    if not response.is_file():
        raise FileNotFoundError(f"{response} is missing: install Stockade again")
    return response
