"""Carry out what was decided: kill processes, freeze and thaw containers."""
