"""Corrections in a row: what they do to images that nobody asked about, how many last, and where each method breaks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

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
from experiments.report.canvas import Picture, blank, grid
from experiments.report.captions import absent_text
from experiments.report.contenders import Entrant, entrants, frames_of
from experiments.report.curves import MET, curve
from experiments.report.frames import Frames
from experiments.report.knowledge import LEVELS, SET_ASIDE
from experiments.report.metrics import NONE_CORRECTED, Metric, Summary, Values, correct
from experiments.report.named import Names, chosen, label_axes, legend, look
from experiments.report.part import Made, Study, Text, words
from experiments.report.render import markdown
from experiments.report.scales import Panel, set_axis
from experiments.report.scope import Scope
from experiments.report.sheet import Block
from experiments.report.standings import Aim
from experiments.report.style import DOUBLE_COLUMN, network_label

HEIGHT = 2.6  # inches, of a row of panels
LOSS = Panel("untouched_loss", "loss of untouched accuracy", "symlog", 1e-3)

Found = Mapping[str, Sequence[Entrant]]  # by network


def draw_rows(figure: Figure, found: Found, aims: Sequence[Aim], names: Names) -> list[str]:
    """Draw a row for each network, the loss left and retention right; return notes."""
    every = {
        network: chosen({item.contender: item for item in items}, names) for network, items in found.items()
    }
    size = (DOUBLE_COLUMN, HEIGHT * len(found) + 1.2)
    for letter, axes, network, quantity in grid(figure, size, list(found), (LOSS.quantity, "retention")):
        axes.set_title(f"{letter} {network_label(network)}")
        if not every[network]:
            blank(axes, absent_text(network, "non_reloading"))
            continue
        bounds = [aim.bound for aim in aims if (aim.network, aim.quantity) == (network, quantity)]
        _draw_panel(axes, every[network], quantity, bounds, names)
    legend(figure, names, [label for own in every.values() for label in own], markevery=[])
    return [words("in_a_row")["figure"]]


def values_of(samples: pd.DataFrame, quantity: str) -> Values:
    """Return the curve of a panel after 0, 1, 2, ... samples, the mean over seeds."""
    if quantity == "retention":
        return curve(samples, "retention").mean
    accuracy = curve(samples, "untouched_accuracy").mean
    return np.asarray(accuracy[0] - accuracy, dtype=np.float64)


def _draw_panel(
    axes: Axes, items: Mapping[str, Entrant], quantity: str, bounds: Sequence[float], names: Names
) -> None:
    lines = {label: values_of(item.part.samples, quantity) for label, item in items.items()}
    if quantity == LOSS.quantity:
        ends = [*np.concatenate([values[np.isfinite(values)] for values in lines.values()]), *bounds, 0.0]
        set_axis(axes, LOSS, min(ends), max(ends), along="y")
        axes.invert_yaxis()
        lines = {label: LOSS.heights(values) for label, values in lines.items()}
        marks = [float(LOSS.heights([bound])[0]) for bound in bounds]
    else:
        axes.set_ylim(-0.02, 1.02)
        marks = [bound / 100 for bound in bounds]
    for mark in marks:
        axes.axhline(mark, color="#5E7F3A", linestyle=(0, (1, 1.5)), linewidth=1.0, zorder=1.5)
    for label, values in lines.items():
        axes.plot(values, linewidth=1.1, color=look(names, label)["color"])
    axes.set_xlim(0, max(1, *(values.size - 1 for values in lines.values())))
    label_axes(axes, MET, LOSS.label if quantity == LOSS.quantity else "retention")


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
    return round(float(lost(samples, "untouched_accuracy")[-1]), 12)


MEASURES = (
    of_run("POC", "POC (%)", lambda samples: 100 * float(correct(samples).mean())),
    of_run("untouched_accuracy", "untouched accuracy", at("untouched_accuracy")),
    of_run("untouched_loss", "untouched, loss", _loss),
    of_run("retention", "retention (%)", at("retention", factor=100), NONE_CORRECTED),
    of_run("union", "parameters ever changed", at("union")),
    of_run("drift", "drift (L2)", at("drift")),
    of_run("seconds", "seconds in all", lambda samples: float(samples["search_seconds"].sum())),
    *(
        of_run(f"lost_{points}", f"lost {points / 100:g} after", _lost_after(points), NEVER)
        for points in FALLS
    ),
    of_run("forgotten", "retention below 95 % after", _forgotten_for_good, NEVER),
)


SHORT_NETWORK, SHORT = "mlp", ("POC", "untouched_accuracy", "retention", "lost_1")  # of the short table


@dataclass(frozen=True)
class InARow(Study):
    """A table of every method in the non-reloading setting, and a figure of those with `names`."""

    presets: tuple[str, ...] = IN_A_ROW
    aims: tuple[Aim, ...] = ()
    names_drawn: tuple[tuple[str, str], ...] = ()
    tables = ("in_a_row",)
    figures = ("in_a_row",)
    texts = ("report/in_a_row_named.md",)

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
            "in_a_row",
            lambda figure: [
                *draw_rows(figure, found, self.aims, dict(self.names_drawn)),
                *scope.footnotes(by_method),
            ],
        )

        yield Text(self.texts[0], self._short(found.get(SHORT_NETWORK, [])))

    def _short(self, items: Sequence[Entrant]) -> str:
        """Return the table of the methods with names, as Markdown."""
        named = chosen({item.contender: item for item in items}, dict(self.names_drawn))
        shown = [measure for measure in MEASURES if measure.name in SHORT]
        lines = [
            [label, *(cell_text(measure, summary_of(measure, item.part.samples)) for measure in shown)]
            for label, item in named.items()
        ]
        return markdown(["method", *(measure.label for measure in shown)], lines)

    def _cell(self, network: str, measure: Metric, summary: Summary) -> str:
        """Return a summary as text, with a mark where this project aims at something."""
        aim = [aim for aim in self.aims if (aim.network, aim.quantity) == (network, measure.name)]
        mark = "" if not aim else " ✓" if aim[0].met_by(summary.mean) else " ✗"
        return f"{cell_text(measure, summary)}{mark}"
