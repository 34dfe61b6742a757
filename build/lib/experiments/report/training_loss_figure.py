"""The figure of the training-loss question: both accounts of every correction."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report.canvas import blank, grid
from experiments.report.loss_accounts import Accounts
from experiments.report.part import words
from experiments.report.statistics import Values
from experiments.report.style import DOUBLE_COLUMN, method_style, network_label

LINEAR = 1e-3  # nats: within it the axis of dTL is linear
# Of the accounts against each other; more would hide them.
SHOWN = ("bgd_ii", "bgd_i", "retrain", "top_k", "random")
GREY = "#555555"


def paint(figure: Figure, networks: Sequence[str], accounts: Mapping[tuple[str, str], Accounts]) -> list[str]:
    """Draw, for each network, how dTL is distributed and the two accounts against each other.

    Args:
        figure: To draw into.
        networks: A row of panels each.
        accounts: By network and method.

    Returns:
        The lines of the footnote.
    """
    size, columns = (DOUBLE_COLUMN, 2.6 * len(networks) + 0.4), (_distributions, _against)
    for letter, axes, network, draw in grid(figure, size, networks, columns):
        own = {method: account for (name, method), account in accounts.items() if name == network}
        title = "ΔTL, as defined" if draw is _distributions else "both accounts"
        axes.set_title(f"{letter} {network_label(network)}: {title}")
        if own:
            draw(axes, own)
        else:
            blank(axes, "missing: no run\namong the records")
    return [words("training_loss")["figure"].format(linear=LINEAR)]


def _distributions(axes: Axes, accounts: Mapping[str, Accounts]) -> None:
    for method, account in accounts.items():
        style, ordered = method_style(method), np.sort(account.true)
        shares = np.arange(1, ordered.size + 1) / ordered.size
        axes.step(ordered, shares, where="post", color=style.colour, linestyle=style.line, label=style.short)
    axes.set_xscale("symlog", linthresh=LINEAR)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(_decades(np.concatenate([account.true for account in accounts.values()])))
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


def _against(axes: Axes, accounts: Mapping[str, Accounts]) -> None:
    constant = list(accounts.values())[-1].constant
    own = {method: account for method, account in accounts.items() if method in SHOWN}
    for depth, (method, account) in enumerate(own.items()):  # BGD-II on top
        style = method_style(method)
        (dots,) = axes.plot(
            account.true,
            account.released,
            ".",
            markersize=2.5,
            color=style.colour,
            alpha=0.6,
            label=style.short,
        )
        dots.set_zorder(3 - depth / 10)
        dots.set_rasterized(True)
    axes.axhline(constant, color=GREY, linestyle=(0, (4, 2)), linewidth=0.8)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xscale("symlog", linthresh=LINEAR)
    axes.set_yscale("symlog", linthresh=abs(constant))
    true = np.concatenate([account.true for account in own.values()] or [np.zeros(1)])
    released = np.concatenate([account.released for account in own.values()] or [np.zeros(1)])
    axes.set_xticks(_decades(true))
    axes.set_xlim(2 * min(true.min(), -LINEAR), 3 * max(true.max(), LINEAR))
    powers = range(-2, 9, 2)
    labels = ["-L₀/64", "0", *(f"$10^{{{power}}}$" for power in powers)]
    axes.set_yticks([constant, 0.0, *(10.0**power for power in powers)], labels)
    axes.set_ylim(3 * constant, 3 * max(released.max(), -constant))
    axes.set_xlabel("ΔTL, as defined (nats)")
    axes.set_ylabel("released accounting")
    if own:
        axes.legend(loc="upper left", frameon=False, fontsize=6, handlelength=1.0, markerscale=3)
