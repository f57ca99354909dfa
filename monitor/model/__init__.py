"""Plain data that every layer speaks: events, processes, containers, rules, alerts, effects.

Nothing in here reads a clock, a file or a socket, and nothing in here imports
another layer.
"""
