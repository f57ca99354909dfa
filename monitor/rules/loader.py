"""Load rule folders into a :class:`~monitor.rules.ruleset.RuleSet`: from the cache when it knows these bytes."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from monitor.rules import cache
from monitor.rules.binding import bind_rules
from monitor.rules.compiler import CompileError
from monitor.rules.errors import Problems, RuleError, RuleErrors
from monitor.rules.ir import RuleBook
from monitor.rules.preventions import Choices, keep_chosen
from monitor.rules.ruleset import RuleSet
from monitor.rules.source_files import RuleFile, read_sources

__all__ = ["RuleError", "RuleErrors", "load_book", "load_rules"]


def load_rules(
    sources: Sequence[Path],
    *,
    preventions: Choices | None = None,
    cache_dir: Path | None = None,
    today: date | None = None,
) -> RuleSet:
    """Load every rule below ``sources`` (folders or files), and of the ready-made preventions those that are named.

    ``cache_dir`` holds what was read the last time; ``today`` (default: the
    date now) decides which exceptions still hold. Raises :class:`RuleErrors`
    with all mistakes of all files at once.
    """
    problems, chosen = Problems(), preventions or {}
    files = read_sources(sources, problems)
    day = today or date.today()
    key = cache.build_key(files) if cache_dir is not None and not problems.errors else ""
    if cache_dir is not None and key:
        book = cache.load_cached(cache_dir, key)
        if book is not None:
            try:
                return bind_rules(keep_chosen(book, chosen), day)
            except (CompileError, ValueError):  # types are right, content is not: read the files
                pass
    book = _read(files, problems)
    rules = bind_rules(keep_chosen(book, chosen), day)
    if cache_dir is not None:
        cache.store(cache_dir, key, book)
    return rules


def load_book(sources: Sequence[Path]) -> RuleBook:
    """Read the rules as plain data, without the cache, all preventions among them. Raises :class:`RuleErrors`."""
    problems = Problems()
    return _read(read_sources(sources, problems), problems)


def _read(files: Sequence[RuleFile], problems: Problems) -> RuleBook:
    from monitor.rules.reading import read_rules  # noqa: PLC0415  # pySigma takes 0.3 s to import

    return read_rules(files, problems)
