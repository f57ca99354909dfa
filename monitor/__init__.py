"""Stockade: a runtime monitor for containers and hosts."""

import time

__version__ = "0.1.0"

STARTED_S = time.monotonic()
"""When this process first imported the package, ``time.monotonic()``: what "ready after" counts from."""
