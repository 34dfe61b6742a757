"""What claims are tested on: the samples of each network, setting and method, and the runs of probes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

import experiments.report.metrics as metrics
from experiments.records.schema import PROBE, Header, Row, Run, subject
from experiments.report.frames import by_recipe, drawn, network_seed_of
from experiments.report.layer_shares import Layers, layers_of
from experiments.report.metrics import METRICS, Metric, Values, corrected
from experiments.report.numbers import format_number
from experiments.report.part import words
from experiments.report.rank_shares import Results
from experiments.report.statistics import Interval
from experiments.report.style import method_style, network_label, setting_label
from experiments.report.surveys import by_network

PROBES: Mapping[str, Callable[[Run, str], Results | Layers]] = {
    "gradient_ranks": Results.of,
    "layer_gradients": lambda run, _: layers_of(run),
}
RELOADING = "reloading"  # the setting of every test that is no test of runs
FIRST_FULLY_CONNECTED = "lin1.weight"
LATE = 0.5  # of the samples: where the late part of a run begins
HUNDRED = 100  # samples: the panels (b) of figures 4.5 to 4.10


@dataclass(frozen=True)
class Outcome:
    """What the records say on one test, before Holm's correction.

    Attributes:
        ours: The mean (or share, or level) of what the test is about.
        direction: Whether the estimate lies on the claim's side.
        size: Whether everything else that the test's rule asks for, but the p value, is so.
        n: How many values: pairs of seed and sample, samples, or seeds.
        seeds: How many seeds; 0 for a probe, which has none.
        against: That of the other method, or the stated value.
        difference: From the other method; None where `ours` itself is tested.
        interval: Of what is tested, 95 %.
        p: Two-sided, that what is tested (scaled, where the test has a factor) is 0.
        exact: Whether `p` is exact.
        note: What a reader should know besides.
    """

    ours: float
    direction: bool
    size: bool
    n: int
    seeds: int = 0
    against: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    p: float | None = None
    exact: bool = True
    note: str = ""

    @property
    def value(self) -> float:
        """What was tested, in the unit of `ours`: a difference, or `ours` itself."""
        return self.ours if self.difference is None else self.difference


def within(value: float, interval: Interval, low: float, high: float) -> tuple[bool, bool]:
    """Return direction and size of a test that a value lies between two others: the value does, and its interval."""
    return low <= value <= high, low <= interval.low and interval.high <= high


class Missing(Exception):
    """There is nothing to test on; the message says why."""


class NoRun(Missing):
    """A run that the test is on is not among the records."""


def shown(value: float) -> str:
    """Return a number for people, or in words why it is none."""
    if np.isnan(value):
        return "not a number"
    if np.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    return format_number(value)


def _mean_altered(samples: pd.DataFrame) -> Values:
    """Return POPA as section 4.7 has it: over all samples, an empty subset where one stays wrong."""
    means = pd.Series(metrics.parameters_altered(samples)).groupby(samples["seed"].to_numpy()).mean()
    return np.asarray(means, dtype=np.float64)


def _final_loss(samples: pd.DataFrame) -> Values:
    """Return the last training loss; one that is not finite is larger than any."""
    losses = metrics.final_training_loss(samples)
    return np.asarray(np.where(np.isfinite(losses), losses, np.inf), dtype=np.float64)


_OWN: dict[str, dict[str, Callable[[pd.DataFrame], Values]]] = {  # quantities that no table has
    "samples": {
        "corrected": lambda rows: np.where(metrics.correct(rows), 100.0, 0.0),
        "lin1_majority": lambda rows: metrics.column(rows, "first_layer_percent") - 50.0,
        **{name: partial(metrics.column, name=name) for name in ("l2", "linf", "forward_passes")},
    },
    "seeds": {
        "final_training_loss": _final_loss,
        "late_POC": lambda rows: metrics.corrections(rows[rows["position"] >= LATE * rows["run_samples"]]),
        "accuracy_after_100": lambda rows: metrics.final_test_accuracy(rows[rows["position"] < HUNDRED]),
        "mean_POPA": _mean_altered,
    },
}
QUANTITIES = METRICS | {
    name: Metric(name, words("claims")["quantities"][name], over, values)
    for over, own in _OWN.items()
    for name, values in own.items()
}
PER_SAMPLE, PER_SEED = (
    tuple(name for name, metric in QUANTITIES.items() if metric.over == over) for over in _OWN
)
OF_THE_START = (
    "early_test_accuracy",
    "accuracy_after_100",
)  # of `PER_SEED`; the others are of a whole sequence
OF_EVERY_SAMPLE = ("corrected",)  # of `PER_SAMPLE`; the others are of corrected samples


@dataclass(frozen=True)
class Evidence:
    """Runs, sorted: of one recipe of N0 for each network.

    Attributes:
        runs: The runs of corrections, as `experiments.report.frames.Frames` has them.
        groups: By network, setting and method, the rows of its samples as `Frames` has them, with the column
            `first_layer_percent`.
        probes: By probe and network, what it found: `Results` of gradient_ranks, `Layers` of layer_gradients.
        errors: By network, how many test images its N0 gets wrong: that of the first seed.
    """

    runs: pd.DataFrame
    groups: Mapping[tuple[str, str, str], pd.DataFrame] = field(repr=False)
    probes: Mapping[tuple[str, str], Any] = field(repr=False)
    errors: Mapping[str, int]

    @classmethod
    def by_scale(cls, runs: Sequence[Run]) -> list["Evidence"]:
        """Sort runs by the recipe of N0, for each network those with the most images first.

        A network with fewer recipes than another has its last one in the rest as well.
        """
        networks = [[cls.of(own) for own in parts] for parts in by_recipe(runs).values()]
        return [
            cls._joined([parts[min(place, len(parts) - 1)] for parts in networks])
            for place in range(max(map(len, networks), default=1))
        ]

    @classmethod
    def _joined(cls, parts: Sequence["Evidence"]) -> "Evidence":
        """Put together what is of different networks."""
        return cls(
            pd.concat([part.runs for part in parts], ignore_index=True) if parts else cls.of(()).runs,
            {key: rows for part in parts for key, rows in part.groups.items()},
            {key: found for part in parts for key, found in part.probes.items()},
            {network: count for part in parts for network, count in part.errors.items()},
        )

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Evidence":
        """Sort runs of corrections and of probes."""
        corrections = [run for run in runs if PROBE not in run.header.spec]
        frames = drawn(corrections)
        percents = [
            (run.header.run_id, row.position, _first_layer_percent(row))
            for run in corrections
            for row in run.rows
        ]
        keys = ["run_id", "position"]
        percent = pd.DataFrame(percents, columns=[*keys, "first_layer_percent"]).set_index(keys)
        samples = frames.samples.join(percent, on=keys)
        groups: dict[Any, pd.DataFrame] = dict(iter(samples.groupby(["network", "setting", "method"])))
        probes = {
            (probe, network): read(run, network)
            for probe, read in PROBES.items()
            for network, run in by_network(runs, probe).items()
        }
        headers = sorted((run.header for run in runs), key=_of_network, reverse=True)
        errors = {subject(header.spec)[0]: header.base["errors"] for header in headers}
        return cls(frames.runs, groups, probes, errors)

    def probe(self, name: str, network: str) -> Any:
        """Look up what a probe found on a network, or raise `Missing`."""
        if (name, network) not in self.probes:
            raise NoRun(f"missing: no run of {name} on {network_label(network)} is among the records")
        return self.probes[name, network]

    def samples(self, network: str, setting: str, method: str) -> pd.DataFrame:
        """Look up the rows of a method, or raise `Missing`."""
        if (network, setting, method) not in self.groups:
            label = method_style(method).label
            where = f"{network_label(network)} in the {setting_label(setting)} setting"
            raise NoRun(f"missing: no run of {label} on {where} is among the records")
        return self.groups[network, setting, method]

    def rows_of(self, network: str, method: str, metric: str) -> pd.DataFrame:
        """Look up the rows of a method, reloading, that a metric of `PER_SAMPLE` has a value for; see `samples`."""
        samples = self.samples(network, RELOADING, method)
        rows = samples if metric in OF_EVERY_SAMPLE else samples[corrected(samples)]
        if rows.empty and metric not in OF_EVERY_SAMPLE:
            raise Missing(f"missing: {method_style(method).label} corrected no sample")
        return rows


def corrected_too(samples: pd.DataFrame, others: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of a method whose (seed, sample) each of some other methods corrected.

    Where one side has a single seed, because it is deterministic, it stands for every seed of the other.
    """
    for other in others:
        seeds = [frame["seed"].nunique() for frame in (samples, other)]
        keys = ["seed", "index"] if min(seeds) > 1 or seeds[0] == seeds[1] else ["index"]
        theirs = pd.MultiIndex.from_frame(other.loc[corrected(other), keys])
        samples = samples[pd.MultiIndex.from_frame(samples[keys]).isin(theirs)]
    return samples


def _of_network(header: Header) -> tuple[int, str]:
    """Return a key that sorts runs by the seed of their N0."""
    return network_seed_of(header.spec), header.run_id


def _first_layer_percent(row: Row) -> float:
    """Return the percentage of a sample's changed values that are weights of lin1, NaN where nothing changed."""
    total = sum(counts[0] for counts in row.layers.values())
    return 100 * row.layers.get(FIRST_FULLY_CONNECTED, (0,))[0] / total if total else np.nan
