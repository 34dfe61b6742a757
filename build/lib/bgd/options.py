"""From plain values to an object of a class: names and types are checked against its signature.

A misspelt name or a number given as text is an error that names the nearest choice, and not a surprise an hour later.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from bgd.errors import ConfigError, nearest

LARGEST = 2**63 - 1  # that 64 bits hold

Component = Callable[[Any, Any, str], Any]  # a value, its type and its key -> an object of that type


def build_as(target: Callable[..., Any], given: Mapping[str, Any], where: str, component: Component) -> Any:
    """Build an object of a class.

    Args:
        target: The class; its type hints say what the values must be.
        given: Its arguments by name.
        where: The object's own key, for messages.
        component: Gives an argument that is itself an object, and raises `ConfigError` for what describes none.

    Raises:
        ConfigError: A name is unknown or missing, or a value has the wrong type or range.
    """
    parameters = inspect.signature(target).parameters
    hints = typing.get_type_hints(target.__init__, include_extras=True)
    for key in given:
        if key not in parameters:
            raise ConfigError(f"{where}.{key}: unknown key; {nearest(key, parameters)}")
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in given:
            raise ConfigError(f"{where}.{key}: missing")
    arguments = {key: convert(value, hints[key], f"{where}.{key}", component) for key, value in given.items()}
    try:
        return target(**arguments)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where}.{error}") from error
    except (RuntimeError, OverflowError) as error:  # torch's, of sizes that do not fit in 64 bits
        raise ConfigError(f"{where}: cannot be built ({str(error).splitlines()[0]})") from error


def convert(value: Any, hint: Any, where: str, component: Component) -> Any:
    """Turn a value into a type: number, text, truth value, list or mapping of them, one of some words, or an object.

    What may be None is `X | None`; `Literal`, and `Annotated[str, words]`, are one of some words.

    Raises:
        ConfigError: It is not of that type.
    """
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in of:
            return None
        kinds = [kind for kind in of if kind is not type(None)]
        if len(kinds) == 1:
            return convert(value, kinds[0], where, component)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}={value!r}: must be a list")
        return tuple(convert(item, of[0], where, component) for item in value)
    if origin is Mapping and isinstance(value, Mapping):
        return {
            convert(key, of[0], where, component): convert(item, of[1], f"{where}.{key}", component)
            for key, item in value.items()
        }
    if origin in (typing.Annotated, typing.Literal):
        choices = of if origin is typing.Literal else of[1]
        if convert(value, str, where, component) not in choices:
            raise ConfigError(f"{where}={value!r}: {nearest(value, choices)}")
        return value
    if hint in (int, float, bool, str):
        return _plain(value, hint, where)
    return component(value, hint, where)


def _plain(value: Any, kind: Any, where: str) -> Any:
    """Check a number, a text or a truth value; an integer may stand for a number."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        words = {int: "an integer", float: "a number", bool: "true or false", str: "text"}[kind]
        raise ConfigError(f"{where}={value!r}: must be {words}")
    if kind is float and not math.isfinite(value):
        raise ConfigError(f"{where}={value!r}: must be a finite number")
    if kind is int and not -LARGEST <= value <= LARGEST:
        raise ConfigError(f"{where}={value}: must be within -2^63 and 2^63, as 64 bits hold integers")
    return value


def is_protocol(hint: Any) -> bool:
    """Tell whether a type is a protocol, which nothing can be built of."""
    return bool(getattr(hint, "_is_protocol", False))
