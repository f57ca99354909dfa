"""Stockade: a runtime monitor for containers and hosts."""

__version__ = "0.1.0"
