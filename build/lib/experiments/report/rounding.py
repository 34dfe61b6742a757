"""Spread over replicas of N0 beside that over seeds, orders and base networks: a table and a figure.

A replica (`mnist.replicas`) is N0 with each parameter at a neighbouring float or the same: another machine's rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.records.schema import NON_RELOADING, PROBE, Run
from experiments.report.canvas import draw
from experiments.report.captions import describe_base, describe_scale_briefly, warnings
from experiments.report.frames import REPLICA, REPLICAS, Frames, build_frames
from experiments.report.metrics import METRICS, MISSING, Summary, Values, summarize
from experiments.report.numbers import format_count, format_number, format_summary, listing
from experiments.report.rounding_figure import draw_spread
from experiments.report.sheet import Block, Sheet, sheet_names
from experiments.report.style import (
    NETWORKS,
    SETTINGS,
    method_order,
    method_style,
    network_label,
    setting_label,
)
from experiments.report.variation import SEED

SAME = 1e-3  # relative difference of two L2 norms up to which they are one change, rounded otherwise
OF_SETTING = {
    "reloading": ("POC", "POPA", "dTA"),
    NON_RELOADING: ("POC", "final_test_accuracy"),
}
AXES = ("replicas", "seeds", "orders", "networks")
LABELS = {"replicas": "replicas", "seeds": "method seeds", "orders": "orders", "networks": "base networks"}

Key = tuple[str, str, str]  # network, setting, method


@dataclass(frozen=True)
class Parting:
    """Where runs of one method and seed from N0 and from a replica go different ways.

    Attributes:
        first: Place of the first sample, from 0, whose correction differs; None where none does.
        same: How many samples have the same correction.
        samples: How many samples both runs have.
    """

    first: int | None
    same: int
    samples: int


def parting(ours: pd.DataFrame, theirs: pd.DataFrame) -> Parting:
    """Compare the rows of two runs, sample by sample.

    Two corrections are the same where outcome, numbers of parameters and passes are equal and the L2 norms of the
    changes agree to `SAME`: another parameter has another gradient, so another subset shows in the norm.
    """
    columns = ["outcome", "altered", "l0", "steps", "forward_passes", "l2"]
    both = ours[["index", "position", *columns]].merge(
        theirs[["index", *columns]], on="index", suffixes=("", "_theirs")
    )
    same = np.isclose(both["l2"], both["l2_theirs"], rtol=SAME, atol=0)
    for name in columns[:-1]:
        same &= (both[name] == both[f"{name}_theirs"]).to_numpy()
    apart = both.loc[~same, "position"]
    return Parting(int(apart.min()) if len(apart) else None, int(same.sum()), len(both))


@dataclass(frozen=True)
class Rounding:
    """The table and the figure.

    Attributes:
        rounding: Presets with runs from N0 and its replicas.
        beside: Presets with runs over seeds, orders and base networks of the same methods.
        thesis_errors: By network, how many test images the thesis' N0 gets wrong.
    """

    rounding: tuple[str, ...] = (*REPLICAS, "rounding_beyond")
    beside: tuple[str, ...] = ("every_method", "orders", "base_networks")
    thesis_errors: tuple[tuple[str, int], ...] = ()

    @property
    def presets(self) -> tuple[str, ...]:
        """Whose runs."""
        return (*self.rounding, *self.beside)

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return (*sheet_names("rounding"), "figures/rounding.png", "figures/rounding.svg")

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Give the content of each file; see `experiments.report.part.Part`."""
        frames = _comparable([run for run in runs if PROBE not in run.header.spec])
        groups = {key: Spread(part) for key, part in _groups(frames)}
        images = draw(lambda figure: [*draw_spread(figure, groups), *self._about(frames)])
        return {
            **self._sheet(frames, groups).files(),
            **{f"figures/rounding.{kind}": image for kind, image in images.items()},
        }

    def _sheet(self, frames: Frames, groups: "dict[Key, Spread]") -> Sheet:
        blocks = []
        for network in NETWORKS:
            for setting in SETTINGS:
                own = {key: each for key, each in groups.items() if key[:2] == (network, setting)}
                if not own:
                    continue
                place = f"{network_label(network)}, {setting_label(setting)} setting"
                lines = [line for key, each in own.items() for line in _lines(key, each)]
                blocks.append(Block(f"{place}.", HEADER, lines))
                parts = [_parts(key, each) for key, each in own.items()]
                blocks.append(
                    Block(f"{place}: where the runs part from the one from N0 itself.", PARTS, parts)
                )
        return Sheet(
            name="rounding",
            heading="Rounding as a source of variance",
            caption=" ".join((MEANING, *self._about(frames))),
            warnings=[
                f"{network_label(network)}: {text}"
                for network in NETWORKS
                for text in warnings(frames.select(network=network).runs.assign(base_id=""))
            ],
            blocks=blocks or [Block("", ["method", "runs"], [[MISSING, "no replica is among the records"]])],
            columns=COLUMNS,
            records=[record for key, each in groups.items() for record in _records(key, each)],
        )

    def _about(self, frames: Frames) -> list[str]:
        """Say how large the runs from replicas are, by network."""
        texts = []
        for network in NETWORKS:
            runs = frames.select(network=network).runs
            runs = runs[runs["replica"] > 0]
            if runs.empty:
                texts.append(f"{network_label(network)}: missing, no replica is among the records.")
                continue
            errors = dict(self.thesis_errors).get(network)
            texts.append(
                f"{network_label(network)}: {describe_base(runs, errors)} Replicas: {describe_scale_briefly(runs)}."
            )
        return texts


def _comparable(runs: Sequence[Run]) -> Frames:
    """Build the frames of what can be set beside each other: replicas, and other runs of the same scale.

    The same run may be of two presets at two scales: from N0 itself, that at the scale of the replicas is taken.
    """
    sizes = {_group(run): _scale(run) for run in runs if run.header.spec.get("replica")}
    return build_frames([run for run in runs if sizes.get(_group(run)) == _scale(run)])


def _scale(run: Run) -> tuple[object, ...]:
    """Say how large a run is; another base network has other samples, and all of them are all of them."""
    header = run.header
    every = header.samples == header.base["errors"]
    return "all" if every else header.samples, header.train_images, header.test_images


def _group(run: Run) -> Key:
    spec = run.header.spec
    return spec["network"]["name"], spec["setting"]["name"], spec["method"]["name"]


def _groups(frames: Frames) -> Iterator[tuple[Key, Frames]]:
    for network in NETWORKS:
        for setting in SETTINGS:
            part = frames.select(network=network, setting=setting)
            for method in method_order(part.runs["method"]):
                yield (network, setting, method), part.select(method=method)


class Spread:
    """A method's values over each axis along which runs differ from the one of seed 0, order 0 and N0 itself."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        runs = frames.runs
        n0, seed, order = runs["replica"] == 0, runs["seed"] % REPLICA == SEED, runs["order"] == 0
        network = runs["network_seed"] == 0
        self._ids = {
            "first": runs.loc[n0 & seed & order & network, "run_id"],
            "replicas": runs.loc[~n0 & seed & order & network, "run_id"],
            "seeds": runs.loc[n0 & order & network, "run_id"],
            "orders": runs.loc[n0 & seed & network, "run_id"],
            "networks": runs.loc[n0 & seed & order, "run_id"],
        }

    def samples(self, axis: str) -> list[pd.DataFrame]:
        """Give the rows of each run along an axis."""
        samples = self.frames.samples
        return [samples[samples["run_id"] == run_id] for run_id in self._ids[axis]]

    def values(self, axis: str, metric: str) -> Values:
        """Give a metric's mean in each run along an axis, NaN where a run has none."""
        means = [_mean(METRICS[metric].values(_population(rows, metric))) for rows in self.samples(axis)]
        return np.array(means, dtype=np.float64)

    def summary(self, axis: str, metric: str) -> Summary:
        """Summarize a metric over the runs along an axis."""
        values = self.values(axis, metric)
        if not values.size:
            return Summary(None, None, 0, axis, note=MISSING)
        return summarize(values, axis, otherwise=MISSING)

    def partings(self) -> list[Parting]:
        """Say of each replica where it parts from N0 itself; empty where no run of N0 itself is there."""
        first = self.samples("first")
        return [parting(first[0], rows) for rows in self.samples("replicas")] if first else []

    def firsts(self) -> Values:
        """Give, for each replica that differs, the place of the first sample whose correction does."""
        places = [part.first for part in self.partings() if part.first is not None]
        return np.array(places, dtype=np.float64)


def _population(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    return rows if METRICS[metric].over == "seeds" else rows[rows["outcome"] == "corrected"]


def _mean(values: Values) -> float:
    """Give a mean without the last digits that the order of a sum leaves behind."""
    return round(float(values.mean()), 12) if values.size else float("nan")


HEADER = (
    *("method", "measure", "replicas", "mean ± sd over replicas", "least to largest"),
    *(f"sd over {LABELS[axis]}" for axis in AXES[1:]),
)
PARTS = (
    *("method", "first to differ", "replicas", "same corrections (%)"),
    *("earliest first to differ", "median", "replicas that never differ"),
)


def _lines(key: Key, spread: Spread) -> Iterator[list[str]]:
    """Yield a line for each metric."""
    for name in OF_SETTING[key[1]]:
        values = spread.values("replicas", name)
        values = values[np.isfinite(values)]
        ends = f"{format_number(values.min())} to {format_number(values.max())}" if values.size else MISSING
        yield [
            *(method_style(key[2]).label, METRICS[name].label, format_count(len(spread.samples("replicas")))),
            *(format_summary(spread.summary("replicas", name)), ends),
            *(_sd(spread.summary(axis, name)) for axis in AXES[1:]),
        ]


def _parts(key: Key, spread: Spread) -> list[str]:
    partings = spread.partings()
    label, count = method_style(key[2]).label, format_count(len(partings))
    if not partings:
        return [label, MISSING, count, *[MISSING] * 4]
    same = 100 * sum(part.same for part in partings) / max(1, sum(part.samples for part in partings))
    places = sorted(part.first for part in partings if part.first is not None)
    first = [str(places[0]), format_number(float(np.median(places)))] if places else ["never", "never"]
    words = "never" if not places else listing([str(place) for place in places])
    return [label, words, count, format_number(round(same, 2)), *first, str(len(partings) - len(places))]


def _sd(summary: Summary) -> str:
    return "" if summary.sd is None else f"{format_number(summary.sd)} ({summary.n})"


COLUMNS = ("network", "setting", "method", "quantity", "axis", "mean", "sd", "min", "max", "n")


def _records(key: Key, spread: Spread) -> Iterator[tuple[object, ...]]:
    for name in OF_SETTING[key[1]]:
        for axis in AXES:
            summary, values = spread.summary(axis, name), spread.values(axis, name)
            values = values[np.isfinite(values)]
            ends = (float(values.min()), float(values.max())) if values.size else (None, None)
            yield (*key, name, axis, summary.note or summary.mean, summary.sd, *ends, summary.n)
    for number, part in enumerate(spread.partings(), 1):
        share = part.same / part.samples if part.samples else None
        yield (*key, "same_corrections", f"replica {number}", share, None, None, None, part.samples)
        yield (*key, "first_to_differ", f"replica {number}", part.first, None, None, None, part.samples)


MEANING = (
    "A replica of N0 is N0 with each parameter moved to the float above, to the float below, or not at all, as drawn:"
    " the least that training on another processor does. Mean ± sample standard deviation (ddof = 1) over replicas,"
    " method seed 0, order 0; then the least and the largest; beside them the standard deviations over method seeds,"
    " over orders of the samples and over base networks trained with other seeds, each with the number of runs, from N0"
    " itself. Same corrections: the percentage of samples whose correction is that from N0 itself, by outcome, numbers"
    f" of parameters and passes, and an L2 norm to {SAME:g}. First to differ: the place of the first sample, from 0,"
    " whose correction is another, of each replica that differs at all. POPA and ΔTA are means"
    " over corrected samples."
)
