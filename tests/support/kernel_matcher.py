"""What the kernel does with a packed policy, in Python: one lookup for each dimension, and an AND.

Follows the lookups alone (longest entry, table, number), never the conditions, but for the two dimensions that are
asked value by value: the container's, which user space decides, and the arguments', which an automaton does.
"""

from monitor.model.events import FileOpen
from monitor.model.kernel_policy import PATH_END, Dimension, Key, Lookup, Vectors
from monitor.model.process import Context
from monitor.rules.field import fold_ascii
from monitor.rules.fields import find_field
from monitor.rules.kernel_policy import EXEC, OPEN, UPPER_UNKNOWN, KernelPolicy
from monitor.rules.kernel_terms import FLAG_NAMES, RUNTIME_INIT
from tests.support.rule_trees import walk

_TEXTS = {
    "executable": "process.executable",
    "parent's executable": "process.parent.executable",
    "file": "file.path",
}


def match(policy: KernelPolicy, context: Context) -> int:
    """The terms that an event fulfils."""
    vector = policy.everything
    for dimension, vectors in policy.vectors.items():
        vector &= _look_up(policy, dimension, vectors, context)
    return vector


def _look_up(policy: KernelPolicy, dimension: Dimension, vectors: Vectors, context: Context) -> int:
    match dimension.lookup:
        case Lookup.CONTAINER | Lookup.ARGUMENTS:
            return policy.select(dimension, lambda test: walk(test, context))
        case Lookup.NUMBER:
            number = _value("user.id", context)
            return vectors.entries.get(number, vectors.none) if isinstance(number, int) else vectors.none
        case Lookup.BITS:
            named = frozenset[str]().union(*(key for key in vectors.entries if isinstance(key, frozenset)))
            return vectors.entries.get(_bits(dimension, context) & named, vectors.none)
        case lookup:
            text = fold_ascii(str(_value(_TEXTS[dimension.subject], context) or ""))
            text = text + PATH_END if lookup is Lookup.BEGINNING else PATH_END + text
            return max(
                ((len(key), vector) for key, vector in _texts(vectors) if _fits(lookup, text, key)),
                default=(0, vectors.none),
            )[1]


def _texts(vectors: Vectors) -> list[tuple[str, int]]:
    return [(key, vector) for key, vector in vectors.entries.items() if isinstance(key, str)]


def _fits(lookup: Lookup, text: str, key: str) -> bool:
    return text.startswith(key) if lookup is Lookup.BEGINNING else text.endswith(key)


def _bits(dimension: Dimension, context: Context) -> frozenset[str]:
    match dimension:
        case Dimension.EVENT:
            return frozenset({OPEN if isinstance(context.event, FileOpen) else EXEC})
        case Dimension.ACCESS:
            return _names("file.access", context)
        case Dimension.CAPABILITIES:
            return _names("process.thread.capabilities.effective", context)
    is_set: dict[Key, object] = {name: _value(f"process.flags.{name}", context) for name in FLAG_NAMES}
    is_set[RUNTIME_INIT] = _value("container.runtime_init", context)
    is_set[UPPER_UNKNOWN] = is_set["upper_layer"] is None
    return frozenset(str(name) for name, value in is_set.items() if value)


def _names(field: str, context: Context) -> frozenset[str]:
    found = _value(field, context)
    return frozenset(found) if isinstance(found, tuple) else frozenset()


def _value(name: str, context: Context) -> object:
    field = find_field(name)
    assert field is not None, name
    return field.get(context)
