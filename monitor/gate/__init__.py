"""Tier `hold`: a process of its own that the kernel asks, by fanotify, before a file is executed or opened.

:mod:`monitor.gate.supervisor` is the service's side: it starts the process, gives it
rules and containers, takes denials. Everything else runs in there
(:mod:`monitor.gate.__main__`).
"""
