"""The figure of the frontier: side effects against changed parameters, a curve for each level of knowledge."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report.canvas import blank
from experiments.report.captions import absent_text
from experiments.report.contenders import EVERY, Contender, on_curves
from experiments.report.knowledge import LEVELS, level_rank
from experiments.report.metrics import Values
from experiments.report.numbered import (
    Entry,
    draw_box,
    draw_key,
    family_handles,
    key_height,
    write_numbers,
)
from experiments.report.part import words
from experiments.report.standings import Aim, Standing
from experiments.report.strips import Panel, set_axis
from experiments.report.style import DOUBLE_COLUMN, FAMILIES, family_of, method_order, network_label

Found = Mapping[str, Sequence[Standing]]  # by network
Drawn = dict[Contender, list[Standing]]  # of a network: the standings of each curve and of each point

POINT = 1e-2  # of accuracy
CHANGED = Panel("changed_median", "parameters changed, median", "right", "log", 1.0)
# What the table has as a change of accuracy is drawn as a loss in points: up is worse on every panel.
MEASURES = (
    Panel("dTA_mean", "mean loss (points)", "right", "symlog", 0.01),
    Panel("dTA_p5", "95th percentile of the loss", "right", "symlog", 0.01),
    Panel("dTA_worst", "worst loss (points)", "right", "symlog", 0.01),
    Panel("broken", "negative flips (images)", "right", "symlog", 0.1),
)
SIZE = (2.75, 1.75)  # inches, about, of a panel
COLUMNS = 3  # of the key
BOX = "Box: what this project aims at."


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
    return 0.0 - value / POINT if panel.quantity.startswith("dTA") else value


def entries_of(found: Mapping[str, Drawn]) -> dict[Contender, Entry]:
    """Return a numbered entry for each curve and each point that any network has."""
    levels = {
        name: group[0].level
        for drawn in found.values()
        for name, group in drawn.items()
        if name.budget != EVERY or any(map(has_place, group))
    }
    methods = method_order(name.method for name in levels)
    labels = _labels(list(levels))

    def place(name: Contender) -> tuple[object, ...]:
        curve, family = name.budget == EVERY, family_of(name.method)
        # The first curve of a level has a solid line: that is ours.
        kind = (not curve, curve and family != "ours", list(FAMILIES).index(family))
        return (level_rank(levels[name]), *kind, methods.index(name.method), labels[name])

    lines: Counter[str] = Counter()
    entries = {}
    for number, name in enumerate(sorted(levels, key=place), 1):
        line = ""
        if name.budget == EVERY:
            line = ("-", "--", ":")[min(lines[levels[name]], 2)]
            lines[levels[name]] += 1
        entries[name] = Entry(number, labels[name], levels[name], family_of(name.method), line)
    return entries


def _labels(names: Sequence[Contender]) -> dict[Contender, str]:
    """Return each name in short, with its options where it would be another's otherwise."""
    plain = {name: replace(name, varied=()).short for name in names}
    counts = Counter(plain.values())
    return {name: name.short if counts[label] > 1 else label for name, label in plain.items()}


def draw_frontier(figure: Figure, found: Found, aims: Sequence[Aim], budgets: Sequence[str]) -> list[str]:
    """Draw a row per measure, a column per network, boxes for the aims, curves by budget, the key; return notes."""
    drawn = {network: split(items, budgets) for network, items in found.items()}
    entries = entries_of(drawn)
    key = key_height(list(entries.values()), COLUMNS)
    heights = [2.0] * len(MEASURES)
    figure.set_size_inches(DOUBLE_COLUMN, sum(heights) + key + 1.4)
    grid = figure.add_gridspec(len(MEASURES) + 1, len(found), height_ratios=[*heights, key])
    for column, network in enumerate(found):
        for row, panel in enumerate(MEASURES):
            axes = figure.add_subplot(grid[row, column])
            if row == 0:
                axes.set_title(network_label(network))
            if not found[network]:
                blank(axes, absent_text(network, "reloading"))
                continue
            _draw_panel(axes, drawn[network], entries, panel, [aim for aim in aims if aim.network == network])
            if row == len(MEASURES) - 1:
                axes.set_xlabel(CHANGED.label)
            if column == 0:
                axes.set_ylabel(panel.label)
    draw_key(figure.add_subplot(grid[-1, :]), list(entries.values()), COLUMNS)
    handles = family_handles(list(entries.values()))
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    lost = []
    for network, items in found.items():
        names = [item.contender.whole for item in items if not has_place(item)]
        if names:
            lost.append(f"{network_label(network)}: not drawn, no sample corrected: {', '.join(names)}.")
    return [words("frontier")["figure"], *([BOX] if aims else []), *lost]


def _draw_panel(
    axes: Axes, drawn: Drawn, entries: Mapping[Contender, Entry], panel: Panel, aims: Sequence[Aim]
) -> None:
    groups = {name: own for name in entries if (own := list(filter(has_place, drawn.get(name, ()))))}
    every = [item for group in groups.values() for item in group]
    if not every:
        blank(axes, "none corrected")
        return
    bounds = {aim.quantity: aim.bound for aim in aims}
    changed, values = ([value_of(item, each) for item in every] for each in (CHANGED, panel))
    right, top = bounds.get(CHANGED.quantity), bounds.get(panel.quantity)
    set_axis(axes, CHANGED, min(changed), max([*changed, right or 1.0]))
    ends = values if top is None else [*values, -top / POINT]
    set_axis(axes, panel, min(ends), max(ends), along="y")
    axes.grid(visible=True, axis="both")
    if right is not None and top is not None:
        draw_box(axes, float(CHANGED.heights([right])[0]), float(panel.heights([-top / POINT])[0]))
    spots = np.column_stack((CHANGED.heights(changed), panel.heights(values)))
    low, high = np.transpose((axes.get_xlim(), axes.get_ylim()))
    shares = [tuple(share) for share in ((spots - low) / (high - low)).tolist()]  # of the axes
    numbered, end = {}, 0
    for name, group in groups.items():
        start, end = end, end + len(group)
        _draw_group(axes, spots[start:end], group, entries[name])
        numbered[entries[name].number] = shares[end - 1]
    write_numbers(axes, SIZE, shares, numbered)


def _draw_group(axes: Axes, places: Values, group: Sequence[Standing], entry: Entry) -> None:
    """Draw a curve with its marks, or one mark; white where not all samples were corrected."""
    colour = LEVELS[entry.level].colour
    rights, ups = places.T
    if entry.line:
        axes.plot(rights, ups, color=colour, linestyle=entry.line, linewidth=1.1, zorder=2)
    marker, size = ("o", 2.4) if entry.line else (FAMILIES[entry.family][1], 3.6)
    for right, up, item in zip(rights, ups, group, strict=True):
        whole = item.POC >= 100
        look: dict[str, Any] = {"markerfacecolor": colour if whole else "white", "markeredgecolor": colour}
        axes.plot(right, up, marker, markersize=size, markeredgewidth=0.7, zorder=3, **look)
