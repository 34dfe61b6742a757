"""How a method looks and is called, the same everywhere; and the look of every figure."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

UNCORRECTED_COLOUR = "#D62728"  # red is kept for uncorrected samples: no method has it

Line = Literal["-"] | tuple[float, tuple[float, ...]]


@dataclass(frozen=True)
class MethodStyle:
    """How a method looks and is called.

    Attributes:
        label: As in the tables of the thesis.
        short: As in figures.
        colour: Hexadecimal.
        line: Line style of matplotlib; solid for the BGD family, broken for the baselines, so that two
            methods that look alike to a colour-blind reader differ in one more way.
    """

    label: str
    short: str
    colour: str
    line: Line


# Okabe and Ito's palette without its vermilion and yellow, filled up from Tol's.
METHODS = {
    "bgd_ii": MethodStyle("BGD-II", "BGD-II", "#0072B2", "-"),
    "bgd_c": MethodStyle("BGD-C", "BGD-C", "#009E73", "-"),
    "bgd_i": MethodStyle("BGD-I", "BGD-I", "#56B4E9", "-"),
    "bgd_norm": MethodStyle("BGD-Norm", "BGD-Norm", "#332288", "-"),
    "retrain": MethodStyle("Re-training", "Retrain", "#E69F00", (0, (5, 1))),
    "fine_tune": MethodStyle("Fine-tuning", "Fine-tune", "#CC79A7", (0, (5, 1))),
    "top_k": MethodStyle("Top-k", "Top-k", "#000000", (0, (3, 1, 1, 1))),
    "l1": MethodStyle("L1-Regularizer", "L1", "#7A6A00", (0, (1, 1))),
    "idealized": MethodStyle("Idealized selector", "Idealized", "#7F3C00", (0, (6, 1, 1, 1, 1, 1))),
    "random": MethodStyle("Random", "Random", "#999999", (0, (1, 1))),
}
FALLBACK_COLOURS = ("#882255", "#117733", "#661100", "#6699CC", "#AA4499", "#44AA99")

NETWORKS = {"alexnet": "AlexNet", "mlp": "MLP"}
SETTINGS = {"reloading": "reloading", "non_reloading": "non-reloading"}

SINGLE_COLUMN, DOUBLE_COLUMN = 3.4, 7.0  # inches

RC: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.dpi": 100,
    "savefig.dpi": 220,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "bgd",  # otherwise every build would draw other ids
    "path.simplify": True,
}


def method_style(name: str) -> MethodStyle:
    """Return the style of a method; an unlisted one gets a colour that depends on its name alone."""
    if name in METHODS:
        return METHODS[name]
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return MethodStyle(name, name, FALLBACK_COLOURS[number % len(FALLBACK_COLOURS)], (0, (6, 1, 1, 1, 1, 1)))


def method_order(names: Iterable[str]) -> list[str]:
    """Return the methods in the order of the thesis, those it does not have after them, by name."""
    known = list(METHODS)
    return sorted(set(names), key=lambda name: (known.index(name) if name in METHODS else len(known), name))


def network_label(name: str) -> str:
    """Return a network's name for people."""
    return NETWORKS.get(name, name)


def network_order(names: Iterable[str]) -> list[str]:
    """Return the networks in the order of the thesis, others after them."""
    known = list(NETWORKS)
    return sorted(set(names), key=lambda name: (known.index(name) if name in NETWORKS else len(known), name))


def setting_label(name: str) -> str:
    """Return a setting's name for people."""
    return SETTINGS.get(name, name)
