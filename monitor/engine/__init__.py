"""The engine: events in, intentions out. Pure: no clock, file, socket or thread."""
