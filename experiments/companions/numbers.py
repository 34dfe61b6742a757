"""Numbers that each lane of a bank may have of its own: rates, weights, scales of initial weights."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass, replace
from typing import Any

LANE = "lane"  # key of a field's metadata


def lane(default: Any = MISSING) -> Any:
    """Make a field of a dataclass whose value each lane may have of its own."""
    return field(default=default, metadata={LANE: True})


def structure(component: Any) -> Any:
    """Give a component with all lane numbers 0: components of one structure can be trained together."""
    if is_dataclass(component) and not isinstance(component, type):
        return replace(component, **{each.name: _plain(component, each) for each in _init_fields(component)})
    if isinstance(component, Mapping):
        return {key: structure(value) for key, value in component.items()}
    return component


def _plain(component: Any, each: Field[Any]) -> Any:
    return 0.0 if each.metadata.get(LANE) else structure(getattr(component, each.name))


def _init_fields(component: Any) -> Iterator[Field[Any]]:
    return (each for each in fields(component) if each.init)
