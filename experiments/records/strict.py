"""From plain data, as a yaml file has it, to an object of a known class, with every name and type checked.

A misspelt key or `seed=abc` is an error that names the nearest choice, and not a surprise an hour later.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from bgd.errors import ConfigError, nearest

LARGEST = 2**63 - 1  # that a column of integers holds

Inner = Callable[
    [Mapping[str, Any], Any, str], Any
]  # a mapping inside another, its type, its key -> an object


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


def build_as(target: Callable[..., Any], given: Any, where: str, inner: Inner | None = None) -> Any:
    """Build an object of a known class.

    Args:
        target: The class; its type hints say what the values must be.
        given: Its arguments by name.
        where: The mapping's own key, for messages.
        inner: Builds a component that the mapping holds; by default of the class that its type hint names.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type or range.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}={given!r}: must be a mapping of keys to values")
    parameters = inspect.signature(target).parameters
    hints = typing.get_type_hints(target.__init__, include_extras=True)
    for key in given:
        if key not in parameters:
            raise ConfigError(f"{where}.{key}: unknown key; {nearest(str(key), parameters)}")
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in given:
            raise ConfigError(f"{where}.{key}: missing")
    arguments = {key: convert(value, hints[key], f"{where}.{key}", inner) for key, value in given.items()}
    try:
        return target(**arguments)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where}.{error}") from error
    except (RuntimeError, OverflowError) as error:  # torch's, of sizes that do not fit in 64 bits
        raise ConfigError(f"{where}: cannot be built ({str(error).splitlines()[0]})") from error


def convert(value: Any, hint: Any, where: str, inner: Inner | None = None) -> Any:
    """Return `value` as the type `hint`: numbers, text, truth values, lists and mappings of them, or a component.

    `Annotated[str, words]` and `Literal` are one of some words; what may be None is `X | None`.

    Raises:
        ConfigError: It is not of that type.
    """
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in of:
            return None
        (only,) = [option for option in of if option is not type(None)]
        return convert(value, only, where, inner)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}={value!r}: must be a list")
        return tuple(convert(item, of[0], where, inner) for item in value)
    if origin is Mapping and isinstance(value, Mapping):
        return {
            convert(key, of[0], where): convert(item, of[1], f"{where}.{key}", inner)
            for key, item in value.items()
        }
    if origin in (typing.Annotated, typing.Literal):
        choices = of if origin is typing.Literal else of[1]
        if convert(value, str, where) not in choices:
            raise ConfigError(f"{where}={value!r}: {nearest(value, choices)}")
        return value
    if hint in (int, float, bool, str):
        return _plain(value, hint, where)
    if isinstance(value, Mapping):
        return inner(value, hint, where) if inner else build_as(hint, value, where)
    raise ConfigError(f"{where}={value!r}: must be a mapping{' with _target_' if inner else ''}")


def _plain(value: Any, hint: type, where: str) -> Any:
    """Return a number, a text or a truth value."""
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        kind = {int: "an integer", float: "a number", bool: "true or false", str: "text"}[hint]
        raise ConfigError(f"{where}={value!r}: must be {kind}")
    if hint is float and not math.isfinite(value):
        raise ConfigError(f"{where}={value!r}: must be a finite number")
    if hint is int and not -LARGEST <= value <= LARGEST:
        raise ConfigError(
            f"{where}={value}: must be within -2^63 and 2^63, as records and tables keep integers"
        )
    return value
