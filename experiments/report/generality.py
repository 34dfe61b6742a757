"""Whether a correction holds for images like the sample, and what it takes to find one: a table and a figure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import CORRECTED, Row, Run
from experiments.report.canvas import Picture, blank, dots, legend_above
from experiments.report.captions import absent_text
from experiments.report.contenders import ALL, Entrant, Levelled, entrants, frames_of, on_curves
from experiments.report.frames import Frames
from experiments.report.frontier import BUDGETS
from experiments.report.knowledge import LEVELS, SET_ASIDE, Knowledge
from experiments.report.metrics import NONE_CORRECTED
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Made, Study, words
from experiments.report.scope import Scope
from experiments.report.sheet import Block
from experiments.report.standings import FRONTIER, describe_same_samples, same_samples
from experiments.report.style import DOUBLE_COLUMN, network_label

KINDS = {  # of `experiments.records.schema.Generality`
    "shifts": "shifts",
    "rotations": "rotations",
    "noise": "noise",
    "same_confusion": "same confusion",
}


NOT_MEASURED = "not measured"
LINE = 0.118  # inches, of a method in the figure
GREY = "#333333"


@dataclass(frozen=True)
class Held(Levelled):
    """How a contender does on images like the samples it corrected.

    Attributes:
        corrected: Pairs of seed and sample that were corrected and measured.
        counts: By kind: images, how many of them N0 gets right, how many the corrected network does; empty where
            nothing is measured.
        seconds: Of the search: the median over all samples.
        passes: Forward and backward passes on one sample: the median over all samples.
    """

    corrected: int
    counts: dict[str, Sequence[int]]
    seconds: float
    passes: float

    def share(self, kind: str, column: int) -> float | None:
        """Return the per cent of a kind's images that are right, with N0 (1) or after (2); None without images."""
        counts = self.counts.get(kind, (0, 0, 0))
        return 100 * counts[column] / counts[0] if counts[0] else None


def held(runs: Sequence[Run], frames: Frames, knowledge: Knowledge) -> list[Held]:
    """Return how each contender of a network does on the same samples, those that know least first.

    Args:
        runs: Those of `frames`, at least.
        frames: Of one network, from `experiments.report.standings.same_samples`.
        knowledge: The level of each method.
    """
    last = frames.samples["position"].max()
    rows = {run.header.run_id: [row for row in run.rows if row.position <= last] for run in runs}
    return [
        _held(item, [row for run_id in item.part.runs["run_id"] for row in rows[run_id]])
        for item in entrants(frames, knowledge)
    ]


def _held(item: Entrant, rows: Sequence[Row]) -> Held:
    right = [row for row in rows if row.outcome == CORRECTED]
    measured = [row.generality for row in right if row.generality is not None]
    kinds = KINDS if measured else ()
    return Held(
        item.contender,
        item.level,
        corrected=len(measured or right),
        counts={kind: np.sum([getattr(each, kind) for each in measured], axis=0).tolist() for kind in kinds},
        seconds=float(np.median([row.search_seconds for row in rows])),
        passes=float(np.median([row.forward_passes + row.backward_passes for row in rows])),
    )


@dataclass(frozen=True)
class Generality(Study):
    """A table of generality and cost, and a figure that has of a curve over budgets only those of `drawn`."""

    presets: tuple[str, ...] = FRONTIER
    drawn: tuple[str, ...] = ("10", ALL)
    methods_drawn: tuple[str, ...] = ()
    tables = ("generality",)
    figures = ("generality",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure."""
        frames, own = frames_of(runs, "reloading", self.networks)
        scope = Scope("reloading", self.networks, self.methods)
        found = {
            network: held(own, same_samples(frames.select(network=network)), self.thesis.knowledge)
            for network in self.networks
        }
        about, bold = describe_same_samples(scope, frames), scope.warnings(frames)
        told = words("generality")
        blocks, records = [], []
        for network, items in found.items():
            blocks.append(
                Block(f"{network_label(network)}.", told["header"], [told["lookup"], *map(_line, items)])
            )
            records += [record for item in items for record in _records(network, item)]
        yield self.sheet([SET_ASIDE, *about], bold, blocks, records)
        shown = {network: self._shown(items) for network, items in found.items()}
        yield Picture("generality", lambda figure: [*_draw(figure, shown), *about, *bold])

    def _shown(self, items: Sequence[Held]) -> list[Held]:
        """Return what the figure has: some methods, of one under many budgets some."""
        curves = on_curves([item.contender for item in items], BUDGETS)
        own = [item for item in items if item.contender.method in self.methods_drawn]
        return [item for item in own if item.contender not in curves or item.contender.budget in self.drawn]


def _cell(item: Held, kind: str) -> str:
    if not item.corrected:
        return NONE_CORRECTED
    before, after = item.share(kind, 1), item.share(kind, 2)
    if before is None or after is None:
        return "no images" if item.counts else NOT_MEASURED
    shown = format_number(round(after, 2))
    return shown if kind == "same_confusion" else f"{shown} ({format_number(round(before, 2))})"


def _line(item: Held) -> list[str]:
    images = format_count(item.counts["same_confusion"][0]) if item.counts else ""
    return [
        *(item.contender.label, LEVELS[item.level].label, item.contender.budget),
        format_count(item.corrected),
        *(_cell(item, kind) for kind in KINDS),
        *(images, format_number(item.seconds), format_number(item.passes)),
    ]


def _records(network: str, item: Held) -> Iterator[tuple[object, ...]]:
    """Yield a line for each kind of image."""
    note = "" if item.counts else NOT_MEASURED if item.corrected else NONE_CORRECTED
    for kind in KINDS:
        counts = item.counts.get(kind, (None, None, None))
        yield (*item.named(network), item.corrected, kind, *counts, item.seconds, item.passes, note)


def _draw(figure: Figure, shown: Mapping[str, Sequence[Held]]) -> list[str]:
    """Draw a row of panels for each network: one for each kind of image, one for the seconds."""
    heights = [LINE * max(6, len(items)) + 0.55 for items in shown.values()]
    figure.set_size_inches(DOUBLE_COLUMN, sum(heights) + 0.9)
    panels = figure.subplots(len(shown), len(KINDS) + 1, squeeze=False, height_ratios=heights)
    for row, (network, items) in zip(panels, shown.items(), strict=True):
        for axes, (kind, label) in zip(row, [*KINDS.items(), ("", "seconds")], strict=True):
            axes.set_title(f"{network_label(network)}: {label}" if axes is row[0] else label)
            if items:
                _draw_panel(axes, items, kind)
                axes.tick_params(axis="y", length=0, labelleft=axes is row[0])
            else:
                blank(axes, absent_text(network, "reloading") if axes is row[0] else "")
    looks = [("o", "after the correction", GREY), ("|", "N0", GREY)]
    looks += [("s", f"knows {level.label}", level.colour) for level in LEVELS.values()]
    legend_above(figure, [dots(*look) for look in looks], columnspacing=1.1)
    return [words("generality")["figure"]]


def _draw_panel(axes: Axes, items: Sequence[Held], kind: str) -> None:
    """Draw a line for each method: the share of a kind of image, or the seconds where there is no kind."""
    names = []
    for place, item in enumerate(items):
        names.append(item.contender.short)
        after, before = (item.share(kind, 2), item.share(kind, 1)) if kind else (item.seconds, None)
        if after is not None:
            axes.plot(after, place, "o", markersize=3.2, color=LEVELS[item.level].colour, markeredgewidth=0)
        if before is not None:
            axes.plot(before, place, "|", markersize=5, color=GREY, markeredgewidth=0.8)
    axes.set_ylim(len(items) - 0.4, -0.6)
    axes.grid(visible=True, axis="both")
    axes.set_yticks(range(len(items)), names, fontsize=5.5)
    if kind:
        axes.set_xlim(-4, 104)
        axes.set_xlabel("% right")
    else:
        axes.set_xscale("log")
        axes.set_xlabel("a sample")
