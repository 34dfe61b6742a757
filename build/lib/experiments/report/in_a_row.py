"""Corrections in a row: what they do to images that nobody asked about, how many last, and where each method breaks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.records.schema import Run
from experiments.report.accumulation import (
    FALLS,
    NEVER,
    ROUNDING,
    Measure,
    cell_text,
    summary_of,
    with_trails,
)
from experiments.report.canvas import draw
from experiments.report.contenders import frames_of, part_of
from experiments.report.frames import Frames
from experiments.report.in_a_row_figure import Trail, draw_rows
from experiments.report.knowledge import LEVELS, SET_ASIDE, Knowledge, level_of, level_rank
from experiments.report.metrics import MISSING, NONE_CORRECTED, Summary, correct
from experiments.report.scope import Scope
from experiments.report.sheet import Block, Sheet, sheet_names
from experiments.report.standings import Aim
from experiments.report.style import NETWORKS, method_order, network_label

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
    lost = (samples["base_untouched_accuracy"] - samples["untouched_accuracy"]).to_numpy(dtype=np.float64)
    return since((lost >= points / 100 - ROUNDING).tolist())


def forgotten_for_good(samples: pd.DataFrame) -> float:
    """Return after how many samples retention stays below `RETENTION`; NaN for never."""
    retention = samples["retention"].to_numpy(dtype=np.float64)
    return since(
        (retention < RETENTION - ROUNDING).tolist()
    )  # NaN, before anything was corrected, is not below


def _end(column: str, factor: float = 1.0) -> Callable[[pd.DataFrame], float]:
    return lambda samples: factor * float(samples[column].iloc[-1])


def _loss(samples: pd.DataFrame) -> float:
    last = samples.iloc[-1]
    return round(100 * float(last["base_untouched_accuracy"] - last["untouched_accuracy"]), 10)


def _lost(points: int) -> Callable[[pd.DataFrame], float]:
    return lambda samples: lost_for_good(samples, points)


MEASURES = (
    Measure("POC", "POC (%)", lambda samples: 100 * float(correct(samples).mean())),
    Measure("untouched_accuracy", "untouched accuracy (%)", _end("untouched_accuracy", 100)),
    Measure("untouched_loss", "untouched, loss (points)", _loss),
    Measure("retention", "retention (%)", _end("retention", 100), NONE_CORRECTED),
    Measure("union", "parameters ever changed", _end("union")),
    Measure("drift", "drift (L2)", _end("drift")),
    Measure("seconds", "seconds in all", lambda samples: float(samples["search_seconds"].sum())),
    *(
        Measure(
            f"lost_{points}", f"lost {points} point{'s' if points > 1 else ''} after", _lost(points), NEVER
        )
        for points in FALLS
    ),
    Measure("forgotten", "retention below 95 % after", forgotten_for_good, NEVER),
)
Values = dict[int, dict[str, float]]  # by seed, by measure


@dataclass(frozen=True)
class InARow:
    """A table and a figure of every method in the non-reloading setting.

    Attributes:
        knowledge: The level of each method.
        presets: Whose runs.
        networks: In the order that they are shown.
        methods: Those that should be there; what is missing is named.
        aims: What corrections in a row should reach: of `untouched_loss` and `retention`, in points and per cent.
        name: Of the files.
        thesis_errors: By network, how many test images the thesis' N0 gets wrong.
    """

    knowledge: Knowledge
    presets: tuple[str, ...] = IN_A_ROW
    networks: tuple[str, ...] = tuple(NETWORKS)
    methods: tuple[str, ...] = ()
    aims: tuple[Aim, ...] = ()
    name: str = "in_a_row"
    thesis_errors: tuple[tuple[str, int], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return (*sheet_names(self.name), *(f"figures/{self.name}.{kind}" for kind in ("png", "svg")))

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        frames, _ = frames_of(runs, "non_reloading", self.networks)
        trails = Frames(with_trails(frames.samples), frames.runs)
        scope = Scope("non_reloading", self.networks, self.methods, self.thesis_errors)
        found = {network: self._trails(trails.select(network=network)) for network in self.networks}
        images = draw(
            lambda figure: [*draw_rows(figure, found, self.aims), *scope.footnotes(_by_method(frames))]
        )
        return {
            **self._sheet(scope, frames, found).files(),
            **{f"figures/{self.name}.{kind}": image for kind, image in images.items()},
        }

    def _trails(self, frames: Frames) -> list[Trail]:
        """Return the rows of each contender of a network, those that know least first."""
        found = [
            Trail(
                contender,
                level_of(contender.method, self.knowledge),
                part_of(frames, contender).samples,
            )
            for contender in dict.fromkeys(frames.runs["contender"])
        ]
        found = [item for item in found if len(item.samples)]
        order = method_order(item.contender.method for item in found)
        return sorted(
            found,
            key=lambda item: (
                level_rank(item.level),
                order.index(item.contender.method),
                item.contender.budget,
                item.contender.options,
            ),
        )

    def _sheet(self, scope: Scope, frames: Frames, found: dict[str, list[Trail]]) -> Sheet:
        header = ["method", "knows", "budget", *(item.label for item in MEASURES)]
        values = {
            network: [(item, measured(item.samples)) for item in items] for network, items in found.items()
        }
        return Sheet(
            name=self.name,
            heading="Corrections in a row: what they cost, how many last, and where each method breaks",
            caption=" ".join([_CAPTION, SET_ASIDE, *scope.caption(_by_method(frames))]),
            warnings=scope.warnings(frames),
            blocks=[
                Block(
                    f"{network_label(network)}.",
                    header,
                    [_LOOKUP, *(self._line(network, item, each) for item, each in items)],
                )
                for network, items in values.items()
            ],
            columns=_COLUMNS,
            records=[
                record
                for network, items in values.items()
                for item, each in items
                for record in _records(network, item, each)
            ],
        )

    def _line(self, network: str, item: Trail, values: Values) -> list[str]:
        cells = []
        for measure in MEASURES:
            summary = summary_of(measure, values)
            aim = [aim for aim in self.aims if (aim.network, aim.quantity) == (network, measure.name)]
            mark = "" if not aim else " ✓" if aim[0].met_by(summary.mean) else " ✗"
            cells.append(f"{cell_text(measure, summary)}{mark}")
        return [item.contender.label, LEVELS[item.level].label, item.contender.budget, *cells]


def measured(samples: pd.DataFrame) -> Values:
    """Return each measure of each run of a contender, by seed."""
    ordered = samples.sort_values("position", kind="stable")
    return {
        int(seed): {item.name: item.value(ordered[ordered["seed"] == seed]) for item in MEASURES}
        for seed in sorted(set(ordered["seed"]))
    }


def _by_method(frames: Frames) -> Frames:
    """Return frames with a run for each method and scale, for words on their scale, which name methods alone."""
    sizes = ["network", "method", "seed", "run_samples", "train_images", "test_images", "errors"]
    return Frames(frames.samples, frames.runs.drop_duplicates(sizes))


def _records(network: str, item: Trail, values: Values) -> list[tuple[object, ...]]:
    """Return a line for each measure: the mean over seeds, or in words why there is none."""
    about = (network, item.contender.method, item.contender.options, item.level, item.contender.budget)
    records: list[tuple[object, ...]] = []
    for measure in MEASURES:
        summary: Summary = summary_of(measure, values)
        mean: object = summary.note or MISSING if summary.mean is None else summary.mean
        records.append((*about, measure.name, mean, summary.sd, summary.n, summary.left_out))
    return records


_COLUMNS = (
    *("network", "method", "options", "knows", "budget"),
    *("quantity", "value", "sd", "n", "without"),
)
_LOOKUP = [
    *("Lookup table (by construction, not measured)", LEVELS["nothing"].label, ""),
    *("100", "as N0", "0", "100", "0", "0", "", *[NEVER] * (len(FALLS) + 1)),
]
_CAPTION = (
    "Non-reloading setting: each sample is corrected on the network that the corrections before it left behind. Knows:"
    " what a method may use beyond the network and the sample. Untouched accuracy, at the end: over the test images"
    " that are not on the work list; the loss is against N0. Retention, at the end: the share of the samples corrected"
    " before the last that the network gets right. Parameters ever changed: by any correction. Drift: L2 norm of the"
    " difference of all parameters to N0's. Seconds: of all searches. Where a method breaks: the number of samples met"
    " after which the untouched accuracy is 1, 5 and 10 points below N0's, and retention below 95 %, and stays so to"
    " the end. ✓ and ✗: whether what this project aims at is reached. A method with several seeds has the mean over"
    " them. There is no ±: these are runs from N0 itself, and rounding moves the end of a run of a method that draws"
    " (table `rounding`), its ✓ and ✗ with it. Sorted by what a method knows. A lookup table has no side effect and"
    " forgets nothing, whatever the number of samples."
)
