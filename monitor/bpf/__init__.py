"""The kernel's side of the service: load objects, attach sensors, read rings, write maps."""
