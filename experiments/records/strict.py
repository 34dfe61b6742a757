"""Yaml files as objects of known classes, strictly: see `bgd.options`."""

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from bgd import options
from bgd.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """The safe loader, but a key that stands twice is an error instead of the last one's."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping; see `yaml.SafeLoader`.

        Raises:
            ConfigError: A key stands twice.
        """
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise ConfigError(f"{node.start_mark}: the key {twice[0]!r} stands twice")
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def read_yaml(path: Path) -> Any:
    """Read a yaml file.

    Raises:
        ConfigError: It is not yaml, or a key stands twice.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: {error}") from error


def build_as(
    target: Callable[..., Any], given: Any, where: str, component: options.Component | None = None
) -> Any:
    """Build an object of a class from a mapping.

    Args:
        target: The class; its type hints say what the values must be.
        given: Its arguments by name.
        where: The mapping's own key, for messages.
        component: Builds what a mapping inside describes; by default an object of the class that its type hint names.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type or range.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}={given!r}: must be a mapping of keys to values")

    def inside(value: Any, hint: Any, key: str) -> Any:
        if component and isinstance(value, Mapping):
            return component(value, hint, key)
        return _of_its_hint(value, hint, key)

    return options.build_as(target, given, where, inside)


def convert(value: Any, hint: Any, where: str) -> Any:
    """Turn a value into a plain type, see `bgd.options.convert`.

    Raises:
        ConfigError: It is not of that type.
    """
    return options.convert(value, hint, where, _of_its_hint)


def _of_its_hint(value: Any, hint: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}={value!r}: must be a mapping")
    return build_as(hint, value, where)
