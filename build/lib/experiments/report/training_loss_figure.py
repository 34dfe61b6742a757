"""The figure of the training-loss question: both accounts of every correction."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report.canvas import blank
from experiments.report.statistics import Values
from experiments.report.style import DOUBLE_COLUMN, method_style, network_label

LINEAR = 1e-3  # nats: within it the axis of dTL is linear
SHOWN = (
    "bgd_ii",
    "bgd_i",
    "retrain",
    "top_k",
    "random",
)  # of the accounts against each other; more would hide them

Accounts = Mapping[tuple[str, str], Values]


def paint(
    figure: Figure,
    networks: Sequence[str],
    true: Accounts,
    released: Accounts,
    constants: Mapping[str, float],
    notes: Sequence[str],
) -> list[str]:
    """Draw, for each network, how dTL is distributed and the two accounts against each other.

    Args:
        figure: To draw into.
        networks: A row of panels each.
        true: dTL by network and method (n,).
        released: The released accounting of the same corrections.
        constants: -L_0 / 64 of each network.
        notes: Of the scale.

    Returns:
        The lines of the footnote.
    """
    figure.set_size_inches(DOUBLE_COLUMN, 2.6 * len(networks) + 0.4)
    panels = figure.subplots(len(networks), 2, squeeze=False)
    letters = iter("abcdefgh")
    for row, network in zip(panels, networks, strict=True):
        methods = [method for name, method in true if name == network]
        for axes, title in zip(row, ("ΔTL, as defined", "both accounts"), strict=True):
            axes.set_title(f"({next(letters)}) {network_label(network)}: {title}")
            if not methods:
                blank(axes, "missing: no run\namong the records")
        if methods:
            _distributions(row[0], {method: true[network, method] for method in methods})
            chosen = [method for method in methods if method in SHOWN]
            _against(row[1], network, chosen, true, released, constants[network])
    return [
        "Left: share of the corrections with a change in training loss up to x, reloading; right of the line the loss"
        f" grew. The axis is linear between ±{LINEAR:g} and logarithmic outside. Right: a dot a correction; the dashed"
        " line is -L₀/64, what the released accounting gives for every correction that does not ruin the network.",
        *notes,
    ]


def _distributions(axes: Axes, values: Mapping[str, Values]) -> None:
    for method, own in values.items():
        style, ordered = method_style(method), np.sort(own)
        shares = np.arange(1, ordered.size + 1) / ordered.size
        axes.step(ordered, shares, where="post", color=style.colour, linestyle=style.line, label=style.short)
    axes.set_xscale("symlog", linthresh=LINEAR)
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.set_xticks(_decades(np.concatenate(list(values.values()))))
    axes.set_xlabel("ΔTL (nats)")
    axes.set_ylabel("share of the corrections")
    axes.legend(loc="lower right", frameon=False, fontsize=6, handlelength=1.6)


def _decades(values: Values) -> list[float]:
    """Return marks of an axis that is linear within `LINEAR`: every second decade that has values."""
    marks = [0.0]
    for sign in (-1.0, 1.0):
        reach = float((sign * values).max())
        steps = range(0, max(0, int(np.ceil(np.log10(reach / LINEAR)))) + 1, 2) if reach > LINEAR else ()
        marks += [sign * LINEAR * 10.0**step for step in steps]
    return sorted(marks)


def _against(
    axes: Axes, network: str, methods: Sequence[str], true: Accounts, released: Accounts, constant: float
) -> None:
    for depth, method in enumerate(methods):  # BGD-II on top
        style, points = method_style(method), (true[network, method], released[network, method])
        (dots,) = axes.plot(*points, ".", markersize=2.5, color=style.colour, alpha=0.6, label=style.short)
        dots.set_zorder(3 - depth / 10)
        dots.set_rasterized(True)
    axes.axhline(constant, color="#555555", linestyle=(0, (4, 2)), linewidth=0.8)
    axes.axhline(0, color="#555555", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=LINEAR)
    axes.set_yscale("symlog", linthresh=abs(constant))
    every = np.concatenate([true[network, method] for method in methods] or [np.zeros(1)])
    other = np.concatenate([released[network, method] for method in methods] or [np.zeros(1)])
    axes.set_xticks(_decades(every))
    axes.set_xlim(2 * min(every.min(), -LINEAR), 3 * max(every.max(), LINEAR))
    powers = range(-2, 9, 2)
    labels = ["-L₀/64", "0", *(f"$10^{{{power}}}$" for power in powers)]
    axes.set_yticks([constant, 0.0, *(10.0**power for power in powers)], labels)
    axes.set_ylim(3 * constant, 3 * max(other.max(), -constant))
    axes.set_xlabel("ΔTL, as defined (nats)")
    axes.set_ylabel("released accounting")
    if methods:
        axes.legend(loc="upper left", frameon=False, fontsize=6, handlelength=1.0, markerscale=3)
