"""The only place that waits: binds sensors, engine and sinks into a running service, a replay, a rule test."""
