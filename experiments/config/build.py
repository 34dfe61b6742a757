"""From a plain mapping to an object: `_target_` names a class of ours, the rest its arguments."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from bgd import options
from bgd.errors import ConfigError, nearest
from experiments.config.groups import GROUPS

PACKAGES = ("bgd.", "experiments.")
NAME = "name"  # a component's own name, for people; no argument
KNOWS = "knows"  # what a method may know (bgd.knowledge): held to by whoever poses the problem; no argument
COST = "cost"  # of evaluating a correction of it, low or high: scales may hang on it; no argument
REMEMBERS = "remembers"  # whether a method looks at the samples corrected before; a test holds it to that
ABOUT = (KNOWS, REMEMBERS, GROUPS, COST)  # what a method's yaml says of it, which changes no number
# Options that are younger than records of their class, with the values that these were made with.
YOUNGER = {"SubsetSearch": {"stop": "when_right", "replace": "swap"}}


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
    descriptions name (a test). A younger option is left out where nothing has changed by it.
    """
    if not isinstance(config, Mapping):
        return config
    name = str(config.get("_target_", "")).rpartition(".")[2]
    younger = YOUNGER.get(name, {})
    return {
        ("class" if key == "_target_" else key): name if key == "_target_" else named(value)
        for key, value in config.items()
        if key not in younger or value != younger[key]
    }


def build(config: Mapping[str, Any], where: str) -> Any:
    """Build the object that a mapping describes, and those inside it.

    Args:
        config: `_target_` and its arguments; `name` and what is `ABOUT` a method are left out.
        where: The mapping's own key, for messages.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type or range.
    """
    return build_as(resolve(config.get("_target_"), where), config, where)


def build_as(target: Callable[..., Any], config: Any, where: str) -> Any:
    """Build an object of a class that is known, as `build` does."""
    if not isinstance(config, Mapping):
        raise ConfigError(f"{where}={config!r}: must be a mapping of keys to values")
    given = {key: value for key, value in config.items() if key not in ("_target_", NAME, *ABOUT)}
    return options.build_as(target, given, where, _component)


def convert(value: Any, hint: Any, where: str) -> Any:
    """Turn `value` into the type `hint`, see `bgd.options.convert`; a component is a mapping.

    Raises:
        ConfigError: It is not of that type.
    """
    return options.convert(value, hint, where, _component)


def _component(config: Any, hint: Any, where: str) -> Any:
    """Build a component inside another: a class that its hint names needs no `_target_`."""
    if not isinstance(config, Mapping):
        raise ConfigError(f"{where}={config!r}: must be a mapping with _target_")
    concrete = inspect.isclass(hint) and not options.is_protocol(hint)
    return build_as(hint, config, where) if concrete and "_target_" not in config else build(config, where)
