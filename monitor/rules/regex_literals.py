"""Find the literal text that everything an RE2 expression matches must begin with."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_-,:@%~=#!&'\" <>;")
_QUANTIFIERS = frozenset("?*{")


_FOLDED_BEYOND_ASCII = frozenset("kKsS")
"""RE2 without case lets these match the Kelvin sign and the long s, which the kernel's filter does not know."""


def find_literal_prefix(pattern: str, flags: str = "") -> str:
    r"""The literal after a leading ``^`` or ``\A``; empty when there is none that is certain.

    Only the plainest form is understood, since a wrong answer would hide events:
    no alternation anywhere, no multi-line mode, no flags inside the expression.
    Case does not matter: the caller folds.
    """
    if "|" in pattern or "m" in flags or "(?" in pattern:
        return ""
    for anchor in ("^", r"\A"):
        if pattern.startswith(anchor):
            plain = _PLAIN - _FOLDED_BEYOND_ASCII if "i" in flags else _PLAIN
            return _literal_run(pattern.removeprefix(anchor), plain)
    return ""


def _literal_run(pattern: str, plain: frozenset[str]) -> str:
    run: list[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\" and pattern[at + 1 : at + 2] in {".", "/", "-", "_", "+", "(", ")", "[", "]", "$", "*"}:
            character, at = pattern[at + 1], at + 1
        elif character not in plain:
            break
        run.append(character)
        at += 1
    if run and pattern[at : at + 1] in _QUANTIFIERS:
        run.pop()
    return "".join(run)
