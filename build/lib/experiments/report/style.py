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
# Methods that the thesis does not have: label, as in figures, family. Their colour is that of an unlisted one.
BEYOND = {
    "bgd_i_smallest": ("BGD-I, smallest", "BGD-I smallest", "bgd"),
    "bgd_ii_smallest": ("BGD-II, smallest", "BGD-II smallest", "bgd"),
    "bgd_c_smallest": ("BGD-C, smallest", "BGD-C smallest", "bgd"),
    "bgd_norm_smallest": ("BGD-Norm, smallest", "BGD-Norm smallest", "bgd"),
    "bgd_activation": ("BGD, activation", "BGD activation", "bgd"),
    "bgd_harm": ("BGD, harm", "BGD harm", "bgd"),
    "output_bias": ("Output bias", "Output bias", "floor"),
    "last_layer_weight": ("Last layer, one weight", "Last weight", "floor"),
    "last_layer_weight_statistic": ("Last layer, one weight, statistic", "Last weight, statistic", "floor"),
    "last_layer_lp_l1": ("Last layer, least L1", "Last layer L1", "floor"),
    "last_layer_lp_l1_keep": ("Last layer, least L1, keep-set", "Last layer L1, keep-set", "floor"),
    "last_layer_lp_linf": ("Last layer, least Linf", "Last layer Linf", "floor"),
    "last_layer_lp_linf_keep": ("Last layer, least Linf, keep-set", "Last layer Linf, keep-set", "floor"),
    "rank_one": ("Rank one", "Rank one", "floor"),
    "rank_one_statistic": ("Rank one, statistic", "Rank one, statistic", "floor"),
    "lora": ("LoRA", "LoRA", "peer"),
    "l2_sp": ("L2-SP", "L2-SP", "peer"),
    "ewc": ("EWC", "EWC", "peer"),
    "kl_retrain": ("Re-training with KL", "Retrain with KL", "peer"),
    "fault_sneaking": ("Fault sneaking", "Fault sneaking", "peer"),
    "hard_threshold": ("Hard thresholding", "Hard threshold", "peer"),
    "least_change": ("Least change", "Least change", "ours"),
    "least_harm_fisher": ("Least harm, Fisher", "Least harm, Fisher", "ours"),
    "least_harm_kfac": ("Least harm, KFAC", "Least harm, KFAC", "ours"),
    "least_harm": ("Least harm", "Least harm", "ours"),
    "least_harm_data": ("Least harm, training data", "Least harm, data", "ours"),
    "least_harm_row": ("Least harm, in a row", "Least harm, row", "ours"),
    "least_harm_row_fisher": ("Least harm in a row, hardened Fisher", "Least harm, row, hardened", "ours"),
    "least_harm_row_kfac": ("Least harm in a row, KFAC", "Least harm, row, KFAC", "ours"),
    "least_harm_row_kfac_refreshed": (
        "Least harm in a row, KFAC, refreshed",
        "Least harm, row, KFAC, refreshed",
        "ours",
    ),
    "least_harm_row_protected": ("Least harm in a row, protected", "Least harm, row, protected", "ours"),
}
FALLBACK_COLOURS = ("#882255", "#117733", "#661100", "#6699CC", "#AA4499", "#44AA99")

# Label and marker, in the order that they are listed.
FAMILIES = {
    "thesis": ("the thesis' methods", "o"),
    "bgd": ("BGD, changed", "v"),
    "floor": ("closed forms", "s"),
    "peer": ("from the literature", "^"),
    "ours": ("least change, least harm", "D"),
    "other": ("others", "P"),
}
OTHER = "other"  # family of a method that is not listed

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
    "savefig.dpi": 190,  # 49 figures in a page of less than 5 MB; the svg has no such limit
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
    label, short, _ = BEYOND.get(name, (name, name, ""))
    return MethodStyle(
        label, short, FALLBACK_COLOURS[number % len(FALLBACK_COLOURS)], (0, (6, 1, 1, 1, 1, 1))
    )


def method_order(names: Iterable[str]) -> list[str]:
    """Return the methods in the order of the thesis, then those of `BEYOND`, any others after them, by name."""
    known = [*METHODS, *BEYOND]
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))


def family_of(method: str) -> str:
    """Return the family of a method, a key of `FAMILIES`."""
    return "thesis" if method in METHODS else BEYOND[method][2] if method in BEYOND else OTHER


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
