"""Mistakes in settings, each with its place, all reported at once."""

from dataclasses import dataclass

_SHOWN_CHARACTERS_MAX = 60


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One mistake."""

    location: str
    """``file:line:column``, the environment variable, or the flag."""
    message: str

    def __str__(self) -> str:
        return f"{self.location}: {self.message}"


class ConfigErrors(Exception):
    """The settings cannot be used; exit status 2 on a first load, the old ones stay on a reload."""

    def __init__(self, errors: tuple[ConfigError, ...]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors


def quote(text: str) -> str:
    """Show a piece of somebody's text within a message: quoted, escaped, cut."""
    cut = text[:_SHOWN_CHARACTERS_MAX]
    return ascii(cut) + ("..." if len(text) > len(cut) else "")
