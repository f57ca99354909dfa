"""Which rule files and which response policy a run uses."""

from pathlib import Path
from typing import Final

from msgspec import Struct

from monitor.config.settings import SERVICE_MODE, Settings
from monitor.rules.loader import load_rules
from monitor.rules.preventions import PreventionChoice
from monitor.rules.response import ResponsePolicy, load_responses
from monitor.rules.ruleset import RuleSet
from monitor.shipped import get_shipped_response, get_shipped_rules


class Authored(Struct, frozen=True):
    """What people have written."""

    rules: RuleSet
    responses: ResponsePolicy


PREVENTION_FOLDER: Final = "prevention"
"""Of the shipped rules."""
DEFAULT_RESPONSE: Final = Path("/etc/stockade/response.yml")


def find_rule_sources(settings: Settings) -> list[Path]:
    """Shipped rules and the user's. The default folder of own rules may be missing, a named one may not.

    Raises:
        FileNotFoundError: the shipped rules are missing.
    """
    sources = [get_shipped_rules()] if settings.shipped_rules else []
    if settings.enforcement.prevent and not settings.shipped_rules:
        sources = [get_shipped_rules() / PREVENTION_FOLDER]
    defaults = Settings().rules
    return sources + [folder for folder in settings.rules if folder not in defaults or folder.is_dir()]


def load_rule_set(settings: Settings) -> RuleSet:
    """The rules that these settings name.

    Raises:
        RuleErrors: all mistakes of all files.
    """
    return load_rules(
        find_rule_sources(settings), preventions=find_choices(settings), cache_dir=settings.state_dir / "cache"
    )


def find_choices(settings: Settings) -> dict[str, PreventionChoice]:
    """The ready-made preventions that are switched on; of one that is named twice the last word holds."""
    return {
        each.name: PreventionChoice("" if each.mode == SERVICE_MODE else each.mode, each.containers, each.allow)
        for each in settings.enforcement.prevent
    }


def load_authored(settings: Settings) -> Authored:
    """Rules and response policy.

    Raises:
        RuleErrors: all mistakes of the rules, else of the response policy.
    """
    return Authored(load_rule_set(settings), load_response_policy(settings))


def load_response_policy(settings: Settings) -> ResponsePolicy:
    """The response policy in force.

    Raises:
        RuleErrors: all its mistakes.
    """
    path = settings.response or (DEFAULT_RESPONSE if DEFAULT_RESPONSE.exists() else get_shipped_response())
    return load_responses(path)
