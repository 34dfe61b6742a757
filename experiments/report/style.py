"""How a method looks and is called, the same everywhere; and the look of every figure."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

UNCORRECTED_COLOUR = "#D62728"  # red is kept for uncorrected samples: no method has it

Line = Literal["-"] | tuple[float, tuple[float, ...]]


@dataclass(frozen=True)
class MethodStyle:
    """How a method looks and is called, in the tables of the thesis (`label`) and in figures (`short`).

    The line is solid for the BGD family and broken for the baselines, so that two methods that look alike to a
    colour-blind reader differ in one more way.
    """

    label: str
    short: str
    colour: str
    line: Line


def _line(dashes: Sequence[float] | None) -> Line:
    return (0, tuple(dashes)) if dashes else "-"


_DATA = yaml.safe_load(Path(__file__).with_name("style.yaml").read_text())
METHODS = {
    name: MethodStyle(look["label"], look["short"], look["colour"], _line(look.get("dashes")))
    for name, look in _DATA["methods"].items()
}
# Methods that the thesis does not have: label, as in figures.
BEYOND: dict[str, tuple[str, str]] = {name: tuple(look) for name, look in _DATA["beyond"].items()}
FALLBACK_COLOURS = ("#882255", "#117733", "#661100", "#6699CC", "#AA4499", "#44AA99")

NETWORKS: dict[str, str] = _DATA["networks"]
SETTINGS: dict[str, str] = _DATA["settings"]
RC: Any = _DATA["figure"]

DOUBLE_COLUMN = 7.0  # inches


def method_style(name: str) -> MethodStyle:
    """Return the style of a method; an unlisted one gets a colour that depends on its name alone."""
    if name in METHODS:
        return METHODS[name]
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    label, short = BEYOND.get(name, (name, name))
    return MethodStyle(
        label, short, FALLBACK_COLOURS[number % len(FALLBACK_COLOURS)], (0, (6, 1, 1, 1, 1, 1))
    )


def method_order(names: Iterable[str]) -> list[str]:
    """Return the methods in the order of the thesis, then those of `BEYOND`, any others after them, by name."""
    return _ordered(names, [*METHODS, *BEYOND])


def _ordered(names: Iterable[str], known: list[str]) -> list[str]:
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))


def network_label(name: str) -> str:
    """Return a network's name for people."""
    return NETWORKS.get(name, name)


def network_order(names: Iterable[str]) -> list[str]:
    """Return the networks in the order of the thesis, others after them."""
    return _ordered(names, list(NETWORKS))


def setting_label(name: str) -> str:
    """Return a setting's name for people."""
    return SETTINGS.get(name, name)
