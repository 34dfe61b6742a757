"""From a plain mapping to an object: `_target_` names a class of ours, the rest its arguments.

Names and types are checked, so that a misspelt key or `seed=abc` is an error that names the nearest choice and
not a surprise an hour later.
"""

import importlib
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from bgd.errors import ConfigError, nearest
from experiments.config.groups import GROUPS

PACKAGES = ("bgd.", "experiments.")
LARGEST = 2**63 - 1  # that a column of integers holds
NAME = "name"  # a component's own name, for people; no argument
KNOWS = "knows"  # what a method may know (bgd.knowledge): held to by whoever poses the problem; no argument
ABOUT = (KNOWS, GROUPS)  # what a method's yaml says of it, which changes no number


def resolve(target: Any, where: str) -> Callable[..., Any]:
    """Return the class that `_target_` names.

    Raises:
        ConfigError: It is in neither package, or does not exist.
    """
    if not isinstance(target, str) or not target.startswith(PACKAGES):
        raise ConfigError(f"{where}._target_={target!r}: must name a class of bgd or experiments")
    module_name, _, attribute = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{where}._target_={target!r}: {error}") from error
    found = getattr(module, attribute, None)
    if not inspect.isclass(found):
        classes = [name for name, value in vars(module).items() if inspect.isclass(value)]
        raise ConfigError(f"{where}._target_={target!r}: no such class; {nearest(attribute, classes)}")
    return found


def named(config: Any) -> Any:
    """Return a component's description without addresses: `class`, the bare name, in the place of `_target_`.

    What a run is does not depend on which module a class is in; a class is found by its name alone among all that
    descriptions name (a test).
    """
    if isinstance(config, Mapping):
        return {
            ("class" if key == "_target_" else key): value.rpartition(".")[2]
            if key == "_target_"
            else named(value)
            for key, value in config.items()
        }
    return config


def build(config: Mapping[str, Any], where: str) -> Any:
    """Build the object that a mapping describes, and those inside it.

    Args:
        config: `_target_` and its arguments; `name`, `knows` and `groups` are left out.
        where: The mapping's own key, for messages.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type or range.
    """
    return build_as(resolve(config.get("_target_"), where), config, where)


def build_as(target: Callable[..., Any], config: Mapping[str, Any], where: str) -> Any:
    """Build an object of a class that is known, as `build` does."""
    if not isinstance(config, Mapping):
        raise ConfigError(f"{where}={config!r}: must be a mapping of keys to values")
    given = {key: value for key, value in config.items() if key not in ("_target_", NAME, *ABOUT)}
    parameters = inspect.signature(target).parameters
    hints = typing.get_type_hints(target.__init__)
    for key in given:
        if key not in parameters:
            raise ConfigError(f"{where}.{key}: unknown key; {nearest(key, parameters)}")
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in given:
            raise ConfigError(f"{where}.{key}: missing")
    arguments = {key: convert(value, hints[key], f"{where}.{key}") for key, value in given.items()}
    try:
        return target(**arguments)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where}.{error}") from error
    except (RuntimeError, OverflowError) as error:  # torch's, of sizes that do not fit in 64 bits
        raise ConfigError(f"{where}: cannot be built ({str(error).splitlines()[0]})") from error


def convert(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as the type `hint`: numbers, text, truth values, tuples, unions of them, or a component.

    Raises:
        ConfigError: It is not of that type.
    """
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        (inner,) = [option for option in options if option is not type(None)]
        return convert(value, inner, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}={value!r}: must be a list")
        return tuple(convert(item, typing.get_args(hint)[0], where) for item in value)
    if hint is float and type(value) is int:
        return float(value)
    if hint is float and type(value) is float and not math.isfinite(value):
        raise ConfigError(f"{where}={value!r}: must be a finite number")
    if hint in (int, float, bool, str):
        if type(value) is not hint:
            kind = {int: "an integer", float: "a number", bool: "true or false", str: "text"}[hint]
            raise ConfigError(f"{where}={value!r}: must be {kind}")
        if hint is int and not -LARGEST <= value <= LARGEST:
            raise ConfigError(
                f"{where}={value}: must be within -2^63 and 2^63, as records and tables keep integers"
            )
        return value
    if isinstance(value, Mapping):
        return (
            build(value, where)
            if "_target_" in value or not _concrete(hint)
            else build_as(hint, value, where)
        )
    raise ConfigError(f"{where}={value!r}: must be a mapping with _target_")


def _concrete(hint: Any) -> bool:
    return inspect.isclass(hint) and not getattr(hint, "_is_protocol", False)
