"""Turn checked YAML nodes into the dictionaries that pySigma reads."""

import datetime
from typing import Any

import yaml

_CONSTRUCTOR = yaml.constructor.SafeConstructor()


def build_plain(node: yaml.Node) -> Any:
    """Dictionaries, lists and values of a tree whose size :mod:`monitor.rules.yaml_nodes` has bounded."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: build_plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [build_plain(part) for part in node.value]
    value = _CONSTRUCTOR.construct_object(node)
    return node.value if isinstance(value, datetime.date) else value  # dates stay what was written
