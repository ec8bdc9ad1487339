"""YAML that people write, read strictly: a key that stands twice in a mapping is told, never the last one taken.

For distributions that depend on PyYAML (the extra `yaml`); no other module of this package imports it.
"""

from typing import Any

import yaml

from fastgshare.shared.errors import InvalidSpec


class _Loader(yaml.SafeLoader):
    """Plain data only, and each key once."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Looks at keys as they are written: merged ones (`<<`) may be written over."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise InvalidSpec([f"{_place(key.start_mark)}{key.value} stands there twice, expected each key once"])
            seen.add((key.tag, key.value))
        return node


def parsed(text: str) -> Any:
    """What a YAML text holds, as plain data. Raises InvalidSpec, with line and column where they are known."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise InvalidSpec([f"{_place(error.problem_mark or error.context_mark)}not YAML: {error.problem}"]) from error
    except yaml.YAMLError as error:
        raise InvalidSpec([f"not YAML: {error}"]) from error
    except RecursionError as error:
        raise InvalidSpec(["its lists and mappings lie too deep in each other"]) from error


def _place(mark: yaml.Mark | None) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
