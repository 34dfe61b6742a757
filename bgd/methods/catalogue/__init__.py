"""Every method by its name, with a default for every option: `method_of("least_harm_kfac", budget=8)`.

A class here differs from the one that it is derived from in its defaults alone. They are those of the yaml of the same
name under `experiments/conf/method`, which says of each number where it comes from.
"""

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from bgd.errors import ConfigError, nearest
from bgd.methods.base import Method, NamedMethod
from bgd.methods.catalogue import least_harm, peers, smallest, thesis
from bgd.options import build_as, is_protocol

METHODS: Mapping[str, type[NamedMethod]] = types.MappingProxyType(
    {**thesis.METHODS, **smallest.METHODS, **peers.METHODS, **least_harm.METHODS}
)


def method_of(name: str, /, **options: Any) -> Method:
    """Make a method by its name.

    Args:
        name: A key of `METHODS`.
        options: Fields of its class that are to differ from their defaults.

    Raises:
        ConfigError: There is no such method or option, or a value has the wrong type or range.
    """
    if name not in METHODS:
        raise ConfigError(f"method={name!r}: no such method; {nearest(name, METHODS)}")
    made: Method = build_as(METHODS[name], options, name, _component)
    return made


def _component(value: Any, hint: Any, where: str) -> Any:
    """Take a part of a method as the object that it is, if it is one of its type."""
    if not _fits(value, hint):
        raise ConfigError(f"{where}={value!r}: must be an object, {getattr(hint, '__name__', hint)}")
    return value


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether an object is of a class, or has what a protocol names; of a union, of one of its types."""
    if isinstance(hint, types.UnionType):
        return any(_fits(value, kind) for kind in typing.get_args(hint))
    if not is_protocol(hint):
        return isinstance(value, hint)
    wanted = {name for base in filter(is_protocol, hint.__mro__) for name in vars(base) if name[0] != "_"}
    return not inspect.isclass(value) and all(hasattr(value, name) for name in wanted)
