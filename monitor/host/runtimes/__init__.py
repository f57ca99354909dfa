"""Container runtimes: which are here, and the port by which one is asked about a container.

The clients of their interfaces are modules beside this one, imported when a socket is found.
"""

from monitor.host.runtimes.find import FoundRuntime, find_runtimes
from monitor.host.runtimes.ports import RuntimeLookup

__all__ = ["FoundRuntime", "RuntimeLookup", "find_runtimes"]
