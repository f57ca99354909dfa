"""Rules about connections: so far those to Unix sockets alone are seen.

Rules of Sigma's in this category are about the network. One that asks for a program
alone would match whatever that program connects to on the same machine: such a rule
waits for a sensor, one that says what it means does not.
"""

from typing import Final

from monitor.rules.ir import AnyNode
from monitor.rules.kernel_terms import tests_of

CONNECTIONS: Final = "network_connection"
_OF_SOCKETS: Final = frozenset({"destination.address", "network.transport"})


def find_connection_obstacle(condition: AnyNode) -> str:
    """Why a rule about connections is about none that are seen; empty when it speaks of Unix sockets."""
    if any(getattr(test, "field", "") in _OF_SOCKETS for test in tests_of(condition)):
        return ""
    return f"category {CONNECTIONS}: no network sensor yet; Unix sockets are meant by network.transport: unix"
