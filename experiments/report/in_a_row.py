"""Corrections in a row: what they do to images that nobody asked about, how many last, and where each method breaks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

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
from experiments.report.canvas import Picture
from experiments.report.contenders import Entrant, entrants, frames_of
from experiments.report.frames import Frames
from experiments.report.in_a_row_figure import draw_rows
from experiments.report.knowledge import LEVELS, SET_ASIDE
from experiments.report.metrics import NONE_CORRECTED, correct
from experiments.report.part import Made, Study
from experiments.report.scope import Scope
from experiments.report.sheet import Block
from experiments.report.standings import Aim, named
from experiments.report.style import network_label

# Presets: each method as it is; one with every parameter free; one that refuses what is harmful.
IN_A_ROW = ("in_a_row", "in_a_row_dense", "in_a_row_refusal")
RETENTION = 0.95  # below which earlier corrections count as lost


def since(below: Sequence[bool]) -> float:
    """Return after how many samples something holds for good, to the end of the run; NaN where it does not."""
    flags = np.asarray(below, dtype=np.bool_)
    if not flags.size or not flags[-1]:
        return float("nan")
    others = np.flatnonzero(~flags)
    return float(others[-1] + 2) if others.size else 1.0


def lost_for_good(samples: pd.DataFrame, points: int) -> float:
    """Return after how many samples the untouched accuracy stays `points` hundredths or more below N0's; NaN for never.

    Args:
        samples: The rows of one run, in order, with the columns of `with_trails`.
        points: Hundredths of accuracy.
    """
    return since((lost(samples, "untouched_accuracy") >= points / 100 - ROUNDING).tolist())


def forgotten_for_good(samples: pd.DataFrame) -> float:
    """Return after how many samples retention stays below `RETENTION`; NaN for never."""
    retention = samples["retention"].to_numpy(dtype=np.float64)
    # NaN, before anything was corrected, is not below.
    return since((retention < RETENTION - ROUNDING).tolist())


def _loss(samples: pd.DataFrame) -> float:
    return round(100 * float(lost(samples, "untouched_accuracy")[-1]), 10)


def _lost(points: int) -> str:
    return f"lost {points} point{'s' if points > 1 else ''} after"


MEASURES = (
    of_run("POC", "POC (%)", lambda samples: 100 * float(correct(samples).mean())),
    of_run("untouched_accuracy", "untouched accuracy (%)", at("untouched_accuracy", factor=100)),
    of_run("untouched_loss", "untouched, loss (points)", _loss),
    of_run("retention", "retention (%)", at("retention", factor=100), NONE_CORRECTED),
    of_run("union", "parameters ever changed", at("union")),
    of_run("drift", "drift (L2)", at("drift")),
    of_run("seconds", "seconds in all", lambda samples: float(samples["search_seconds"].sum())),
    *(
        of_run(f"lost_{points}", _lost(points), partial(lost_for_good, points=points), NEVER)
        for points in FALLS
    ),
    of_run("forgotten", "retention below 95 % after", forgotten_for_good, NEVER),
)
LOOKUP = [
    *("Lookup table (by construction, not measured)", LEVELS["nothing"].label, ""),
    *("100", "as N0", "0", "100", "0", "0", "", *[NEVER] * (len(FALLS) + 1)),
]


@dataclass(frozen=True)
class InARow(Study):
    """A table and a figure of every method in the non-reloading setting.

    Attributes:
        aims: What corrections in a row should reach: of `untouched_loss` and `retention`, in points and per cent.
    """

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
            network: [
                item
                for item in entrants(trails.select(network=network), self.thesis.knowledge)
                if len(item.part.samples)
            ]
            for network in self.networks
        }
        # Words on the scale name methods alone: of runs under several options one is enough.
        sizes = ["network", "method", "seed", "run_samples", "train_images", "test_images", "errors"]
        by_method = Frames(frames.samples, frames.runs.drop_duplicates(sizes))
        header = ["method", "knows", "budget", *(item.label for item in MEASURES)]
        yield self.sheet(
            [SET_ASIDE, *scope.caption(by_method)],
            scope.warnings(frames),
            [
                Block(
                    f"{network_label(network)}.",
                    header,
                    [LOOKUP, *(self._line(network, item) for item in items)],
                )
                for network, items in found.items()
            ],
            [
                record
                for network, items in found.items()
                for item in items
                for record in _records(network, item)
            ],
        )
        yield Picture(
            "in_a_row", lambda figure: [*draw_rows(figure, found, self.aims), *scope.footnotes(by_method)]
        )

    def _line(self, network: str, item: Entrant) -> list[str]:
        cells = []
        for measure in MEASURES:
            summary = summary_of(measure, item.part.samples)
            aim = [aim for aim in self.aims if (aim.network, aim.quantity) == (network, measure.name)]
            mark = "" if not aim else " ✓" if aim[0].met_by(summary.mean) else " ✗"
            cells.append(f"{cell_text(measure, summary)}{mark}")
        return [item.contender.label, LEVELS[item.level].label, item.contender.budget, *cells]


def _records(network: str, item: Entrant) -> Iterator[tuple[object, ...]]:
    """Yield a line for each measure: the mean over seeds, or in words why there is none."""
    for measure in MEASURES:
        summary = summary_of(measure, item.part.samples)
        yield (*named(network, item), measure.name, summary.told, summary.sd, summary.n, summary.left_out)
