"""What remains of the corrections when each builds on the last: the non-reloading setting beyond its test accuracy.

The samples of a run are misclassified test images. In the non-reloading setting the test accuracy therefore counts
every sample that stays corrected as a gain, whatever happens to the other images. With m test images, R of them
predicted right, and R_u of these R not on the work list (untouched):

    R / m = R_u / m + (R - R_u) / m

The last term is the part of the test accuracy that images of the work list contribute. N0 gets all of these wrong: it
starts at 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from experiments.records.schema import Run
from experiments.report.frames import REPLICA, REPLICAS, Frames
from experiments.report.knowledge import Knowledge
from experiments.report.metrics import MISSING, NONE_CORRECTED, NOT_FINITE, Summary, Values, summarize
from experiments.report.numbers import format_summary
from experiments.report.scope import EVERY_METHOD, Scope
from experiments.report.sheet import Block, Sheet, sheet_names
from experiments.report.style import NETWORKS, method_style, network_label
from experiments.report.trails import FIGURES, render

NEVER = "never"
FALLS = (1, 5, 10)  # points, hundredths of accuracy
ROUNDING = 1e-9  # of an accuracy: what a subtraction of two of them leaves behind


def with_trails(samples: pd.DataFrame) -> pd.DataFrame:
    """Return non-reloading samples with the measures that are drawn and tabled, and N0's as `base_...`.

    Columns: `retention`, the share in [0, 1] of the samples corrected before that are right after this one's turn, NaN
    where there is none yet; `untouched_accuracy`, in [0, 1], over the test images that are not on the work list;
    `listed_part`, the part of the test accuracy from images of the work list (see the module); `union_share`, the share
    of all parameters that any correction so far has changed; `drift`, L2 norm. N0's retention is NaN; its union and
    drift are 0.
    """
    images, others = samples["test_images"], samples["base_untouched_images"]
    right = (samples["test_accuracy"] * images).round()
    base_right = (samples["base_test_accuracy"] * images).round()
    untouched, base_untouched = samples["untouched_right"], samples["base_untouched_right"]
    return samples.assign(
        retention=samples["earlier_right"] / samples["earlier"].where(samples["earlier"] > 0),
        base_retention=np.nan,
        untouched_accuracy=untouched / others.where(others > 0),
        base_untouched_accuracy=base_untouched / others.where(others > 0),
        listed_part=(right - untouched) / images,
        base_listed_part=(base_right - base_untouched) / images,
        union_share=samples["union"] / samples["parameters"],
        base_union_share=0.0,
        base_drift=0.0,
    )


@dataclass(frozen=True)
class Measure:
    """A number of a run in the non-reloading setting.

    Attributes:
        name: In the csv file.
        label: For people, with the unit.
        value: From the rows of one run, in order and with the columns of `with_trails`.
        nothing: What NaN means.
    """

    name: str
    label: str
    value: Callable[[pd.DataFrame], float]
    nothing: str = NOT_FINITE


def _at(samples: pd.DataFrame, column: str, share: float = 1.0) -> float:
    """Return a column after a share of the samples, in (0, 1], rounded up to a whole sample."""
    return float(samples[column].iloc[int(np.ceil(share * len(samples))) - 1])


def first_fall(samples: pd.DataFrame, column: str, points: int) -> float:
    """Return after how many samples an accuracy is first `points` hundredths or more below N0's; NaN for never.

    Args:
        samples: The rows of one run, in order.
        column: An accuracy in [0, 1], with N0's as `base_...`.
        points: Hundredths of accuracy.
    """
    lost = (samples[f"base_{column}"] - samples[column]).to_numpy(dtype=np.float64)
    fallen = np.flatnonzero(lost >= points / 100 - ROUNDING)
    return float(fallen[0] + 1) if fallen.size else float("nan")


def _percent(column: str, share: float = 1.0) -> Callable[[pd.DataFrame], float]:
    return lambda samples: 100 * _at(samples, column, share)


def _fall(column: str, points: int) -> Callable[[pd.DataFrame], float]:
    return lambda samples: first_fall(samples, column, points)


def _change(samples: pd.DataFrame, column: str) -> Values:
    """Return the difference to N0's value, without the last digits that a subtraction leaves behind."""
    change = samples[column] - samples[f"base_{column}"]
    return np.round(change.to_numpy(dtype=np.float64), 12)


_WHICH = {"test_accuracy": "test accuracy", "untouched_accuracy": "untouched accuracy"}
GROUPS: dict[str, tuple[Measure, ...]] = {
    "Retention, and how far the network has gone from N0.": (
        Measure("retention_halfway", "retention halfway (%)", _percent("retention", 0.5), NONE_CORRECTED),
        Measure("retention_end", "retention at the end (%)", _percent("retention"), NONE_CORRECTED),
        Measure("union", "parameters ever changed (% of all)", _percent("union_share")),
        Measure("drift", "L2 norm of the total change", lambda samples: _at(samples, "drift")),
    ),
    "Samples after which an accuracy is first 1, 5 and 10 points below N0's.": tuple(
        Measure(
            f"{column}_fall_{points}",
            f"{label}, {points} point{'s' if points > 1 else ''}",
            _fall(column, points),
            NEVER,
        )
        for column, label in _WHICH.items()
        for points in FALLS
    ),
    "Accuracy after the last sample, and what of it the work list contributes.": (
        Measure("test_accuracy", "test accuracy", lambda samples: _at(samples, "test_accuracy")),
        Measure(
            "untouched_accuracy", "untouched accuracy", lambda samples: _at(samples, "untouched_accuracy")
        ),
        Measure(
            "untouched_change",
            "untouched, change against N0",
            lambda samples: float(_change(samples, "untouched_accuracy")[-1]),
        ),
        Measure(
            "listed_part",
            "part from the work list",
            lambda samples: float(_change(samples, "listed_part")[-1]),
        ),
        Measure(
            "listed_part_mean",
            "part from the work list, mean over the run",
            lambda samples: float(_change(samples, "listed_part").mean()),
        ),
    ),
}
MEASURES = tuple(measure for group in GROUPS.values() for measure in group)

Key = tuple[str, str]  # network, method
Found = dict[Key, dict[int, dict[str, float]]]  # by seed, by measure


def measured(scope: Scope, trails: pd.DataFrame) -> Found:
    """Return each measure of each run in what `with_trails` returned; a method of a network without one is empty."""
    found: Found = {(network, method): {} for network in scope.networks for method in scope.methods}
    for (network, method), own in trails.groupby(["network", "method"]):
        by_seed = found[str(network), str(method)]
        for seed in sorted(set(own["seed"])):
            rows = own[own["seed"] == seed]
            by_seed[int(seed)] = {item.name: item.value(rows) for item in MEASURES}
    return found


def summary_of(item: Measure, by_seed: dict[int, dict[str, float]]) -> Summary:
    """Summarize a measure over runs; a note says why there is no mean. Without a replica of N0 there is no spread."""
    if not by_seed:
        return Summary(None, None, 0, "seeds", note=MISSING)
    values = np.array([each[item.name] for each in by_seed.values()], dtype=np.float64)
    summary = summarize(values, "seeds")
    if max(by_seed) < REPLICA:
        summary = replace(summary, sd=None)
    return summary if summary.n else Summary(None, None, 0, "seeds", summary.left_out, item.nothing)


def cell_text(item: Measure, summary: Summary) -> str:
    """Return "mean ± sd", and in how many runs there is no value."""
    text = format_summary(summary)
    if not summary.n or not summary.left_out:
        return text
    return f"{text} ({item.nothing} in {summary.left_out} of {summary.n + summary.left_out})"


@dataclass(frozen=True)
class Accumulation:
    """A table and three figures of the non-reloading setting.

    Attributes:
        presets: Whose runs.
        networks, methods: In the order that they are shown.
        name: Of the table's files.
        thesis_errors: By network, how many test images the thesis' N0 gets wrong.
        knowledge: The level of each method, for the caption.
    """

    presets: tuple[str, ...] = ("every_method", *REPLICAS)
    networks: tuple[str, ...] = tuple(NETWORKS)
    methods: tuple[str, ...] = EVERY_METHOD
    name: str = "accumulation"
    thesis_errors: tuple[tuple[str, int], ...] = ()
    knowledge: Knowledge = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        figures = (f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "svg"))
        return (*sheet_names(self.name), *figures)

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        scope = Scope("non_reloading", self.networks, self.methods, self.thesis_errors, self.knowledge)
        frames = scope.frames(runs)
        trails = Frames(with_trails(frames.samples), frames.runs)
        files = self._sheet(scope, trails).files()
        for name in FIGURES:
            for kind, image in render(name, scope, trails).items():
                files[f"figures/{name}.{kind}"] = image
        return files

    def _sheet(self, scope: Scope, frames: Frames) -> Sheet:
        found = measured(scope, frames.samples)
        blocks = []
        for title, group in GROUPS.items():
            header = ["network", "method", "runs", *(item.label for item in group)]
            lines = [
                [
                    *(network_label(key[0]), method_style(key[1]).label, str(len(by_seed))),
                    *(cell_text(item, summary_of(item, by_seed)) for item in group),
                ]
                for key, by_seed in found.items()
            ]
            blocks.append(Block(title, header, lines))
        return Sheet(
            name=self.name,
            heading="What remains when corrections accumulate",
            caption=" ".join([_CAPTION, *scope.caption(frames)]),
            warnings=scope.warnings(frames),
            blocks=blocks,
            columns=("network", "method", "quantity", "seed", "replica", "value", "sd", "n", "without"),
            records=[record for key, by_seed in found.items() for record in _records(key, by_seed)],
        )


def _records(key: Key, by_seed: dict[int, dict[str, float]]) -> list[tuple[object, ...]]:
    """Return a line per measure and run, then the mean over runs; words where there is no value."""
    records: list[tuple[object, ...]] = []
    for item in MEASURES:
        for seed, values in by_seed.items():
            value = values[item.name]
            finite = bool(np.isfinite(value))
            draw = (seed % REPLICA, seed // REPLICA)
            told = value if finite else item.nothing
            records.append((*key, item.name, *draw, told, None, int(finite), int(not finite)))
        summary = summary_of(item, by_seed)
        mean: object = summary.note if summary.mean is None else summary.mean
        records.append((*key, item.name, "all", "all", mean, summary.sd, summary.n, summary.left_out))
    return records


_CAPTION = (
    "Non-reloading setting: each sample is corrected on the network that the corrections before it left behind. Cells:"
    " mean ± sample standard deviation (ddof = 1) over runs: seeds, and replicas of N0; without a replica, which alone"
    " shows what rounding does, there is no ±. Retention: the share"
    " of the samples corrected before the last (halfway: before the one in the middle of the work list) that the"
    " network gets right after that one's turn; samples that were already right when their turn came are not counted."
    " Parameters ever changed: those that any correction has changed, out of all. The total change is the difference"
    " of all parameters to N0's. Untouched accuracy: over the test images that are not on the work list. The samples"
    " are test images themselves, so the test accuracy also counts what is merely retained: the part from the work"
    " list is the number of images of the work list that are right, less those that N0 gets right, over all test"
    " images. A mean is over the runs that have a value; the cell says how many have none."
)
