"""What tier `hold` can know while the kernel holds an exec or an open: shared by who plans rules and who answers.

The values are found out by :mod:`monitor.gate.facts`.
"""

from collections.abc import Mapping
from typing import Final

from monitor.model.kernel_policy import Dimension

DIMENSIONS: Final = (
    Dimension.EVENT,
    Dimension.EXECUTABLE,
    Dimension.EXECUTABLE_END,
    Dimension.FILE,
    Dimension.FILE_END,
    Dimension.FLAGS,
    Dimension.USER,
    Dimension.PARENT,
    Dimension.PARENT_END,
    Dimension.CONTAINER,
)
"""Those that can be answered, in the order of what an answer costs."""
HELD_FLAGS: Final[Mapping[str, frozenset[str]]] = {
    "exec": frozenset({"deleted", "tmpfs", "32bit", "runtime_init"}),
    "open": frozenset({"deleted", "memfd", "runtime_init"}),
}
"""Of :attr:`Dimension.FLAGS`, by event: the others are never set here (an exec of a memfd is not held at all)."""
