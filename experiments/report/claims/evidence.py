"""What claims are tested on: the samples of each network, setting and method, and the runs of probes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

import experiments.report.metrics as metrics
from experiments.records.schema import PROBE, Run
from experiments.report.frames import build_frames
from experiments.report.layer_shares import Layers, layers_of
from experiments.report.metrics import METRICS, Population, Values, corrected, of_population
from experiments.report.numbers import format_number
from experiments.report.rank_shares import Results
from experiments.report.statistics import Interval
from experiments.report.style import method_style, network_label, setting_label
from experiments.report.surveys import by_network

_USED = [  # of the columns of `experiments.report.frames`: the fewer there are, the faster a selection
    *(
        "network",
        "setting",
        "method",
        "seed",
        "replica",
        "run_id",
        "run_samples",
        "position",
        "index",
        "outcome",
    ),
    *("altered", "parameters", "l2", "linf", "forward_passes", "sample_loss_after", "retained"),
    *("train_loss", "base_train_loss", "released_after", "base_released_before"),
    *("test_accuracy", "base_test_accuracy", "train_accuracy", "base_train_accuracy"),
]
FIRST_FULLY_CONNECTED = "lin1.weight"
LATE = 0.5  # of the samples: where the late part of a run begins
FIRST_HUNDRED = 100  # samples: the panels (b) of figures 4.5 to 4.10


@dataclass(frozen=True)
class Outcome:
    """What the records say on one test, before Holm's correction.

    Attributes:
        ours: The mean (or share, or level) of what the test is about.
        against: That of the other method, or the stated value; None where there is none.
        value: What was tested, in the unit of `ours`: a difference, or `ours` itself.
        interval: Of `value`, 95 %; None where there is none.
        p: Two-sided, that `value` (scaled, where the test has a factor) is 0; None where the test has no p value.
        direction: Whether the estimate lies on the claim's side.
        size: Whether everything else that the test's rule asks for, but the p value, is so.
        n: How many values: pairs of seed and sample, samples, or seeds.
        seeds: How many seeds; 0 for a probe, which has none.
        exact: Whether `p` is exact.
        note: What a reader should know besides; empty where there is nothing.
    """

    ours: float
    against: float | None
    value: float
    interval: Interval | None
    p: float | None
    direction: bool
    size: bool
    n: int
    seeds: int
    exact: bool = True
    note: str = ""


def shown(value: float) -> str:
    """Return a number for people, or in words why it is none."""
    if np.isnan(value):
        return "not a number"
    if np.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    return format_number(value)


@dataclass(frozen=True)
class Missing:
    """There is nothing to test on, and why."""

    why: str


@dataclass(frozen=True)
class Quantity:
    """A value per sample (`QUANTITIES`) or per seed (`PER_SEED`).

    Attributes:
        label: For people, with the unit.
        values: From samples to values.
        population: What a value per sample is of.
    """

    label: str
    values: Callable[[pd.DataFrame], Values]
    population: Population = "corrected"


def _column(samples: pd.DataFrame, name: str) -> Values:
    values: Values = samples[name].to_numpy(dtype=np.float64)
    return values


def _corrected_percent(samples: pd.DataFrame) -> Values:
    return np.asarray(100.0 * metrics.correct(samples), dtype=np.float64)


def _majority_in_first(samples: pd.DataFrame) -> Values:
    return _column(samples, "first_layer_percent") - 50.0


QUANTITIES = {
    "corrected": Quantity("samples corrected (%)", _corrected_percent, "all"),
    **{name: Quantity(item.label, item.values) for name, item in METRICS.items() if item.over == "samples"},
    "l2": Quantity("L2 norm of the change", partial(_column, name="l2")),
    "linf": Quantity("largest change of a parameter", partial(_column, name="linf")),
    "forward_passes": Quantity("forward passes on the sample", partial(_column, name="forward_passes")),
    "lin1_majority": Quantity("changed values in lin1, above half (points)", _majority_in_first),
}


def _late_corrections(samples: pd.DataFrame) -> Values:
    return metrics.corrections(samples[samples["position"] >= LATE * samples["run_samples"]])


def _accuracy_after_hundred(samples: pd.DataFrame) -> Values:
    return metrics.final_test_accuracy(samples[samples["position"] < FIRST_HUNDRED])


def _mean_altered(samples: pd.DataFrame) -> Values:
    rows = of_population(samples)
    means = pd.Series(metrics.parameters_altered(rows)).groupby(rows["seed"].to_numpy()).mean()
    return np.asarray(means, dtype=np.float64)


def _final_loss(samples: pd.DataFrame) -> Values:
    """Return the last training loss; one that is not finite is larger than any."""
    losses = metrics.final_training_loss(samples)
    return np.asarray(np.where(np.isfinite(losses), losses, np.inf), dtype=np.float64)


PER_SEED = {
    **{name: Quantity(item.label, item.values) for name, item in METRICS.items() if item.over == "seeds"},
    "final_training_loss": Quantity("Final training loss (nats)", _final_loss),
    "late_POC": Quantity("POC of the second half of the samples (%)", _late_corrections),
    "accuracy_after_100": Quantity("Test accuracy after 100", _accuracy_after_hundred),
    "mean_POPA": Quantity("Mean POPA (%)", _mean_altered),
}


@dataclass(frozen=True)
class Evidence:
    """Runs, sorted.

    Attributes:
        runs: The runs of corrections, as `experiments.report.frames.Frames` has them.
        groups: By network, setting and method, the rows of its samples with the columns `_USED` and
            `first_layer_percent`, the percentage of a sample's changed values that are weights of lin1, NaN where
            nothing changed.
        ranks, layers: By network, what the probes `gradient_ranks` and `layer_gradients` found.
    """

    runs: pd.DataFrame
    groups: Mapping[tuple[str, str, str], pd.DataFrame] = field(repr=False)
    ranks: Mapping[str, Results] = field(repr=False)
    layers: Mapping[str, Layers] = field(repr=False)

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Evidence":
        """Sort runs of corrections and of probes.

        Raises:
            ReportError: Two runs cannot be told apart.
        """
        corrections = [run for run in runs if PROBE not in run.header.spec]
        frames = build_frames(corrections)
        samples = frames.samples[_USED].merge(
            _first_layer(corrections), on=["run_id", "position"], how="left"
        )
        groups = {
            (str(network), str(setting), str(method)): part
            for (network, setting, method), part in samples.groupby(["network", "setting", "method"])
        }
        ranks = {name: Results.of(run, name) for name, run in by_network(runs, "gradient_ranks").items()}
        layers = {name: layers_of(run) for name, run in by_network(runs, "layer_gradients").items()}
        return cls(frames.runs, groups, ranks, layers)

    def samples(self, network: str, setting: str, method: str) -> pd.DataFrame | Missing:
        """Return the rows of a method."""
        found = self.groups.get((network, setting, method))
        if found is None:
            label = method_style(method).label
            where = f"{network_label(network)} in the {setting_label(setting)} setting"
            return Missing(f"missing: no run of {label} on {where} is among the records")
        return found

    def corrected_by(self, samples: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
        """Return the rows whose (seed, sample) each of some methods corrected.

        Where one side has a single seed, because it is deterministic, it stands for every seed of the other.
        """
        for method in methods:
            if samples.empty:
                break
            network, setting = (str(samples[name].iloc[0]) for name in ("network", "setting"))
            other = self.samples(network, setting, method)
            if isinstance(other, Missing):
                return samples.iloc[:0]
            seeds = [frame["seed"].nunique() for frame in (samples, other)]
            ours, theirs = (
                _keys(frame, with_seed=min(seeds) > 1 or seeds[0] == seeds[1])
                for frame in (samples, other[corrected(other)])
            )
            samples = samples[np.isin(ours, theirs)]
        return samples


def _keys(samples: pd.DataFrame, with_seed: bool) -> npt.NDArray[np.int64]:
    """Return a number for each sample, or for each pair of seed and sample."""
    index = samples["index"].to_numpy(dtype=np.int64)
    return index + (samples["seed"].to_numpy(dtype=np.int64) << 32) if with_seed else index


def _first_layer(runs: Sequence[Run]) -> pd.DataFrame:
    """Return `first_layer_percent` by run and position."""
    rows = [
        (run.header.run_id, row.position, _percent_in(row.layers, FIRST_FULLY_CONNECTED))
        for run in runs
        for row in run.rows
    ]
    return pd.DataFrame.from_records(rows, columns=["run_id", "position", "first_layer_percent"]).astype(
        {"run_id": object, "position": "int64", "first_layer_percent": "float64"}
    )


def _percent_in(layers: Mapping[str, Sequence[float]], name: str) -> float:
    """Return the percentage of a row's changed values that are in a tensor."""
    total = sum(counts[0] for counts in layers.values())
    return 100 * layers[name][0] / total if total and name in layers else 0.0 if total else np.nan
