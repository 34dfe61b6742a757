"""Corrections in a row: what they do to images that nobody asked about, how many last, and where each method breaks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import Run
from experiments.report.accumulation import (
    FALLS,
    NEVER,
    ROUNDING,
    at,
    cell_text,
    lost,
    of_run,
    summary_of,
    with_trails,
)
from experiments.report.canvas import Picture, blank
from experiments.report.captions import absent_text
from experiments.report.contenders import Contender, Entrant, entrants, frames_of
from experiments.report.curves import MET, curve
from experiments.report.frames import Frames
from experiments.report.knowledge import LEVELS, SET_ASIDE, level_rank
from experiments.report.metrics import NONE_CORRECTED, Metric, Summary, Values, correct
from experiments.report.numbered import SIZE, Entry, draw_key, key_height, spread
from experiments.report.numbers import counted
from experiments.report.part import Made, Study, words
from experiments.report.scope import Scope
from experiments.report.sheet import Block
from experiments.report.standings import Aim
from experiments.report.strips import Panel, set_axis
from experiments.report.style import DOUBLE_COLUMN, family_of, network_label

COLUMNS = 3  # of the key
HEIGHT = 3.4  # inches, of a row of panels
GAP = 0.026  # of a panel's height, between the numbers at its right
POINTS = 60  # about, of a line that is not ours: with every one of 700 samples, forty such lines are a smear
LOSS = Panel("untouched_loss", "untouched accuracy lost (points)", "right", "symlog", 0.1)
AIMED = "Level dotted line: what this project aims at."

Found = Mapping[str, Sequence[Entrant]]  # by network


def draw_rows(figure: Figure, found: Found, aims: Sequence[Aim]) -> list[str]:
    """Draw a row for each network, the loss left and retention right, and the key; return notes."""
    entries = _entries(found)
    key = key_height(list(entries.values()), COLUMNS)
    figure.set_size_inches(DOUBLE_COLUMN, HEIGHT * len(found) + key + 1.1)
    grid = figure.add_gridspec(len(found) + 1, 2, height_ratios=[*([HEIGHT] * len(found)), key])
    letters = iter("abcdefgh")
    for row, (network, items) in enumerate(found.items()):
        for column, quantity in enumerate((LOSS.quantity, "retention")):
            axes = figure.add_subplot(grid[row, column])
            axes.set_title(f"({next(letters)}) {network_label(network)}")
            if not items:
                blank(axes, absent_text(network, "non_reloading"))
                continue
            bounds = [aim.bound for aim in aims if (aim.network, aim.quantity) == (network, quantity)]
            _draw_panel(axes, items, entries, quantity, bounds)
            if row == len(found) - 1:
                axes.set_xlabel(MET)
    draw_key(figure.add_subplot(grid[-1, :]), list(entries.values()), COLUMNS)
    return [words("in_a_row")["figure"], *([AIMED] if aims else [])]


def _entries(found: Found) -> dict[Contender, Entry]:
    """Return a numbered entry for each contender of any network, in the order that they come in."""
    levels = {item.contender: item.level for items in found.values() for item in items}
    ordered = sorted(levels, key=lambda contender: level_rank(levels[contender]))
    entries = {}
    for number, contender in enumerate(ordered, 1):
        family = family_of(contender.method)
        line = {"thesis": ":", "ours": "-"}.get(family, "--")
        entries[contender] = Entry(number, contender.short, levels[contender], family, line)
    return entries


def values_of(samples: pd.DataFrame, quantity: str) -> Values:
    """Return the curve of a panel after 0, 1, 2, ... samples, the mean over seeds."""
    if quantity == "retention":
        return curve(samples, "retention").mean
    accuracy = curve(samples, "untouched_accuracy").mean
    return np.asarray(100 * (accuracy[0] - accuracy), dtype=np.float64)


def drawn_of(size: int, every: bool) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the places of a line's values that are drawn: all, or some `POINTS` of them and the last."""
    step = 1 if every else max(1, size // POINTS)
    return np.union1d(np.arange(0, size, step), [size - 1])


def _draw_panel(
    axes: Axes,
    items: Sequence[Entrant],
    entries: Mapping[Contender, Entry],
    quantity: str,
    bounds: Sequence[float],
) -> None:
    loss = quantity == LOSS.quantity
    lines = {item.contender: values_of(item.part.samples, quantity) for item in items}
    longest = max(values.size for values in lines.values()) - 1
    if loss:
        finite = np.concatenate([values[np.isfinite(values)] for values in lines.values()])
        ends = [*finite, *bounds, 0.0]
        set_axis(axes, LOSS, min(ends), max(ends), along="y")
        axes.invert_yaxis()
        axes.set_ylabel(LOSS.label)
        lines = {name: LOSS.heights(values) for name, values in lines.items()}
        marks = [float(LOSS.heights([bound])[0]) for bound in bounds]
    else:
        axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel("retention")
        marks = [bound / 100 for bound in bounds]
    for mark in marks:
        axes.axhline(mark, color="#5E7F3A", linestyle=(0, (1, 1.5)), linewidth=1.0, zorder=1.5)
    for name, values in lines.items():
        entry, ours = entries[name], entries[name].family == "ours"
        look: dict[str, Any] = {"color": LEVELS[entry.level].colour, "linestyle": entry.line}
        drawn = drawn_of(values.size, ours)
        axes.plot(drawn, values[drawn], linewidth=1.2 if ours else 0.75, zorder=2.5 if ours else 2, **look)
    axes.set_xlim(0, max(1, longest))
    _write_ends(axes, {entries[name].number: values for name, values in lines.items()}, entries)


def _write_ends(axes: Axes, lines: Mapping[int, Values], entries: Mapping[Contender, Entry]) -> None:
    """Write each line's number right of the panel, apart from each other, with a thin line to where it ends."""
    bottom, top = axes.get_ylim()
    right = axes.get_xlim()[1]
    colours = {entry.number: LEVELS[entry.level].colour for entry in entries.values()}
    finite = {number: np.flatnonzero(np.isfinite(values)) for number, values in lines.items()}
    ends = {number: int(places[-1]) for number, places in finite.items() if places.size}
    shares = [float(lines[number][place] - bottom) / (top - bottom) for number, place in ends.items()]
    heights = spread(shares, GAP, 0.0, 1.0)
    for (number, place), share, height in zip(ends.items(), shares, heights, strict=True):
        thin: dict[str, Any] = {"color": "#999999", "linewidth": 0.3, "clip_on": False}
        axes.plot((place / right, 1.045), (share, height), transform=axes.transAxes, **thin)
        look: dict[str, Any] = {"fontsize": SIZE, "va": "center", "color": colours[number]}
        axes.text(1.05, height, str(number), transform=axes.transAxes, **look)


# Presets: each method as it is; one with every parameter free; one that refuses what is harmful.
IN_A_ROW = ("in_a_row", "in_a_row_dense", "in_a_row_refusal")
RETENTION = 0.95  # below which earlier corrections count as lost


def since(below: npt.ArrayLike) -> float:
    """Return after how many samples something holds for good, to the end of the run; NaN where it does not."""
    flags = np.asarray(below, dtype=np.bool_)
    if not flags.size or not flags[-1]:
        return float("nan")
    return float(np.flatnonzero(~flags).max(initial=-1) + 2)


def _lost_after(points: int) -> Callable[[pd.DataFrame], float]:
    """Return when the untouched accuracy is lost for good: `points` hundredths or more below N0's."""
    return lambda samples: since(lost(samples, "untouched_accuracy") >= points / 100 - ROUNDING)


def _forgotten_for_good(samples: pd.DataFrame) -> float:
    """Return when retention is below `RETENTION` for good; NaN, before anything was corrected, is not below."""
    return since(samples["retention"].to_numpy(dtype=np.float64) < RETENTION - ROUNDING)


def _loss(samples: pd.DataFrame) -> float:
    return round(100 * float(lost(samples, "untouched_accuracy")[-1]), 10)


MEASURES = (
    of_run("POC", "POC (%)", lambda samples: 100 * float(correct(samples).mean())),
    of_run("untouched_accuracy", "untouched accuracy (%)", at("untouched_accuracy", factor=100)),
    of_run("untouched_loss", "untouched, loss (points)", _loss),
    of_run("retention", "retention (%)", at("retention", factor=100), NONE_CORRECTED),
    of_run("union", "parameters ever changed", at("union")),
    of_run("drift", "drift (L2)", at("drift")),
    of_run("seconds", "seconds in all", lambda samples: float(samples["search_seconds"].sum())),
    *(
        of_run(f"lost_{points}", f"lost {counted(points, 'point')} after", _lost_after(points), NEVER)
        for points in FALLS
    ),
    of_run("forgotten", "retention below 95 % after", _forgotten_for_good, NEVER),
)


@dataclass(frozen=True)
class InARow(Study):
    """A table and a figure of every method in the non-reloading setting; `aims` are in points and per cent."""

    presets: tuple[str, ...] = IN_A_ROW
    aims: tuple[Aim, ...] = ()
    tables = ("in_a_row",)
    figures = ("in_a_row",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure."""
        frames, _ = frames_of(runs, "non_reloading", self.networks)
        trails = Frames(with_trails(frames.samples), frames.runs)
        # What a method knows is a column of the table: the caption does not say it again.
        scope = Scope("non_reloading", self.networks, self.methods, replace(self.thesis, knowledge=()))
        found = {
            network: entrants(trails.select(network=network), self.thesis.knowledge)
            for network in self.networks
        }
        found = {
            network: [item for item in items if len(item.part.samples)] for network, items in found.items()
        }
        # Words on the scale name methods alone: of runs under several options one is enough.
        sizes = ["network", "method", "seed", "run_samples", "train_images", "test_images", "errors"]
        by_method = Frames(frames.samples, frames.runs.drop_duplicates(sizes))
        header = ["method", "knows", "budget", *(item.label for item in MEASURES)]
        blocks, records = [], []
        for network, items in found.items():
            lines: list[list[str]] = [words("in_a_row")["lookup"]]
            for item in items:
                summaries = {measure: summary_of(measure, item.part.samples) for measure in MEASURES}
                cells = [self._cell(network, *pair) for pair in summaries.items()]
                lines.append([item.contender.label, LEVELS[item.level].label, item.contender.budget, *cells])
                for measure, one in summaries.items():
                    records.append(
                        (*item.named(network), measure.name, one.told, one.sd, one.n, one.left_out)
                    )
            blocks.append(Block(f"{network_label(network)}.", header, lines))
        yield self.sheet([SET_ASIDE, *scope.caption(by_method)], scope.warnings(frames), blocks, records)
        yield Picture(
            "in_a_row", lambda figure: [*draw_rows(figure, found, self.aims), *scope.footnotes(by_method)]
        )

    def _cell(self, network: str, measure: Metric, summary: Summary) -> str:
        """Return a summary as text, with a mark where this project aims at something."""
        aim = [aim for aim in self.aims if (aim.network, aim.quantity) == (network, measure.name)]
        mark = "" if not aim else " ✓" if aim[0].met_by(summary.mean) else " ✗"
        return f"{cell_text(measure, summary)}{mark}"
