"""The figure of the frontier: side effects against changed parameters, for a few methods with names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.report.canvas import blank, grid
from experiments.report.captions import absent_text
from experiments.report.contenders import EVERY, Contender, on_curves
from experiments.report.named import Names, chosen, label_axes, legend, look
from experiments.report.part import words
from experiments.report.scales import Panel, set_axis
from experiments.report.standings import Aim, Standing
from experiments.report.style import DOUBLE_COLUMN, network_label

Found = Mapping[str, Sequence[Standing]]  # by network
Drawn = dict[Contender, list[Standing]]  # of a network: the standings of each curve and of each point

CHANGED = Panel("changed_median", "parameters changed, median", "log", 1.0)
# What the table has as a change of accuracy is drawn as a loss: up is worse on every panel.
MEASURES = (
    Panel("untouched", "mean loss of untouched accuracy", "symlog", 1e-4),
    Panel("dTA_worst", "worst loss of test accuracy", "symlog", 1e-4),
)
HEIGHT = 2.5  # inches, of a row


def split(items: Sequence[Standing], budgets: Sequence[str]) -> Drawn:
    """Return the standings of each curve, in order of the budget, and of each point.

    A curve is a method under the same options and two or more of the budgets; it stands as a contender of budget
    `EVERY`. Standings without a correction have no place.
    """
    curves = on_curves([item.contender for item in items], budgets)
    drawn: Drawn = {}
    for item in items:
        name = replace(item.contender, budget=EVERY) if item.contender in curves else item.contender
        drawn.setdefault(name, []).append(item)
    for name, group in drawn.items():
        if name.budget == EVERY:
            group.sort(key=lambda item: budgets.index(item.contender.budget))
    return drawn


def has_place(item: Standing) -> bool:
    """Whether a standing has a correction, and so a place in the panels."""
    return item.changed_median is not None


def value_of(item: Standing, panel: Panel) -> float:
    """Return the point of a standing that has a place in a panel."""
    value: float = getattr(item, panel.quantity)
    return value if panel is CHANGED else 0.0 - value


def draw_frontier(
    figure: Figure, found: Found, aims: Sequence[Aim], budgets: Sequence[str], names: Names
) -> list[str]:
    """Draw a row per measure, a column per network, and boxes for the aims; return notes."""
    drawn = {network: chosen(split(items, budgets), names) for network, items in found.items()}
    size = (DOUBLE_COLUMN, HEIGHT * len(MEASURES) + 1.2)
    for letter, axes, panel, network in grid(figure, size, MEASURES, list(found)):
        axes.set_title(f"{letter} {network_label(network)}")
        own = {label: list(filter(has_place, group)) for label, group in drawn[network].items()}
        own = {label: group for label, group in own.items() if group}
        if not own:
            blank(axes, "none corrected" if found[network] else absent_text(network, "reloading"))
            continue
        bounds = {aim.quantity: aim.bound for aim in aims if aim.network == network}
        _draw_panel(axes, own, panel, bounds, names)
    legend(figure, names, [label for own in drawn.values() for label in own])
    return [words("frontier")["figure"]]


def _draw_panel(
    axes: Axes,
    drawn: Mapping[str, Sequence[Standing]],
    panel: Panel,
    bounds: Mapping[str, float],
    names: Names,
) -> None:
    every = [item for group in drawn.values() for item in group]
    changed, values = ([value_of(item, each) for item in every] for each in (CHANGED, panel))
    right, top = bounds.get(CHANGED.quantity), bounds.get(panel.quantity)
    set_axis(axes, CHANGED, min(changed), max([*changed, right or 1.0]))
    ends = values if top is None else [*values, -top]
    set_axis(axes, panel, min(ends), max(ends), along="y")
    label_axes(axes, CHANGED.label, panel.label)
    if right is not None and top is not None:
        (left, _), (bottom, _) = axes.get_xlim(), axes.get_ylim()
        ends = [float(CHANGED.heights([right])[0]), float(panel.heights([-top])[0])]
        box = Rectangle((left, bottom), ends[0] - left, ends[1] - bottom, color="#5E7F3A", alpha=0.12)
        axes.add_patch(box)
    for label, group in drawn.items():
        rights, ups = (each.heights(value_of(item, each) for item in group) for each in (CHANGED, panel))
        axes.plot(rights, ups, markersize=4, linewidth=1.0, **look(names, label))
