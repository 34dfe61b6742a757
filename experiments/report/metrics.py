"""The metrics of the thesis (sections 4.2 and 4.7) as pure functions of a frame with one row per sample.

The columns are those of `experiments.report.frames`: the fields of a row, its figures (`train_loss`, ...), those of
N0 (`base_train_loss`, ...), and the run's `seed`, `parameters` and `retained`. A figure that is not finite is
NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from experiments.records.schema import ALREADY_RIGHT, CORRECTED, NON_RELOADING

EARLY = 50  # samples: section 4.7
ENOUGH_RUNS = 10  # of a method that differ, those from replicas of N0 looked at: fewer are no distribution
ENOUGH_SAMPLES = 10  # different ones behind a mean that is compared with the thesis'

Values = npt.NDArray[np.float64]
Population = Literal["corrected", "all"]

# Why there is no mean.
MISSING, NO_SAMPLES, NOT_RECORDED = "missing", "no samples", "not recorded"
NONE_CORRECTED, NOT_FINITE = "none corrected", "not finite"


def column(samples: pd.DataFrame, name: str) -> Values:
    """Return a column as numbers."""
    return samples[name].to_numpy(dtype=np.float64)


def _difference(samples: pd.DataFrame, after: str, before: str) -> Values:
    """Return the difference of two accuracies, without the last digits that their subtraction leaves behind."""
    return np.round(column(samples, after) - column(samples, before), 12)


def corrected(samples: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which samples were made right by a change of the network."""
    return np.asarray(samples["outcome"] == CORRECTED, dtype=np.bool_)


def correct(samples: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which samples are right after their turn, those already right before it included."""
    return corrected(samples) | np.asarray(samples["outcome"] == ALREADY_RIGHT, dtype=np.bool_)


def corrections(samples: pd.DataFrame) -> Values:
    """Return POC, the percentage of corrections, in % (equation 1; section 4.7): a value per seed.

    POC = correct / (correct + incorrect) * 100. The sum over the networks N_i in section 4.7 is the same.
    """
    shares = pd.Series(correct(samples)).groupby(samples["seed"].to_numpy()).mean()
    return shares.to_numpy(dtype=np.float64) * 100


def parameters_altered(samples: pd.DataFrame) -> Values:
    """Return POPA, the percentage of parameters altered, in % (equation 2): a value per sample.

    A sample that was not corrected has an empty subset (section 4.7): 0 parameters.
    """
    altered = np.where(corrected(samples), column(samples, "altered"), 0.0)
    return altered / column(samples, "parameters") * 100


def training_loss_change(samples: pd.DataFrame) -> Values:
    """Return dTL_i = L_i - L_0 in nats (section 4.2, metric 3): a value per sample.

    Above 0 for a loss that grew. L is the mean cross-entropy over the training images, of the
    network after the sample and of N0.
    """
    return column(samples, "train_loss") - column(samples, "base_train_loss")


def released_training_loss_change(samples: pd.DataFrame) -> Values:
    """Return dTL as the released code accounts for it: a value per sample.

    The mean loss of the last batch after the sample minus N0's sum of batch means, both divided by |D|. The
    two are not the same quantity: the difference is about -L_0 / 64 whatever the correction did.
    """
    return column(samples, "released_after") - column(samples, "base_released_before")


def test_accuracy_change(samples: pd.DataFrame) -> Values:
    """Return dTA_i = TA_i - TA_0 (section 4.2, metric 4), accuracies in [0, 1]: a value per sample.

    Negative for a loss of accuracy; the thesis prints the size of the drop without its sign.
    """
    return _difference(samples, "test_accuracy", "base_test_accuracy")


def _last(samples: pd.DataFrame, name: str) -> Values:
    """Return a column's value after the last sample: a value per seed."""
    last = samples.sort_values("position", kind="stable").groupby("seed").tail(1).sort_values("seed")
    return column(last, name)


def final_test_accuracy(samples: pd.DataFrame) -> Values:
    """Return the test accuracy in [0, 1] of the network after the last sample: a value per seed."""
    return _last(samples, "test_accuracy")


def final_training_loss(samples: pd.DataFrame) -> Values:
    """Return the training loss in nats of the network after the last sample: a value per seed."""
    return _last(samples, "train_loss")


def early_test_accuracy(samples: pd.DataFrame) -> Values:
    """Return the test accuracy in [0, 1] after 50 samples, or the last one before: a value per seed.

    Section 4.7 has baselines collapse "in the first 50 iterations".
    """
    return _last(samples[samples["position"] < EARLY], "test_accuracy")


def untouched_accuracy_change(samples: pd.DataFrame) -> Values:
    """Return the change of the accuracy, in [0, 1], on the test images not on the work list; NaN without any."""
    change = column(samples, "untouched_right") - column(samples, "base_untouched_right")
    images = column(samples, "base_untouched_images")
    return np.asarray(change / np.where(images > 0, images, np.nan), dtype=np.float64)


def final_untouched_accuracy(samples: pd.DataFrame) -> Values:
    """Return the accuracy in [0, 1] of the last network on the images not on the work list: a value per seed."""
    images = _last(samples, "base_untouched_images")
    return np.asarray(_last(samples, "untouched_right") / np.where(images > 0, images, np.nan))


def retained(samples: pd.DataFrame) -> Values:
    """Return the share of the samples that the last network gets right, in %: a value per seed with one."""
    return samples.groupby("seed")["retained"].first().dropna().to_numpy(dtype=np.float64) * 100


def of_population(samples: pd.DataFrame, population: Population = "corrected") -> pd.DataFrame:
    """Return the samples that an average is over.

    "corrected" takes the samples that a change of the network made right; "all" takes every sample, and one that was
    not corrected counts with 0 parameters and the unchanged network's figures.

    Raises:
        ValueError: Another population is asked for.
    """
    if population == "all":
        return samples
    if population == "corrected":
        return samples[corrected(samples)]
    raise ValueError(f"population must be 'corrected' or 'all', not {population!r}")


def over_corrected(
    runs: pd.DataFrame, samples: pd.DataFrame, values: Callable[[pd.DataFrame], Values]
) -> Values | str:
    """Return a value over the corrected samples of a method's runs, or in words why there is none."""
    chosen = samples[corrected(samples)]
    if len(chosen):
        return values(chosen)
    return MISSING if runs.empty else NONE_CORRECTED if len(samples) else NO_SAMPLES


@dataclass(frozen=True)
class Summary:
    """Mean and spread of a metric.

    Attributes:
        mean: None where there is no value; `note` then says why.
        sd: Sample standard deviation (ddof = 1); None where no two values differ.
        n: How many values the mean is over.
        over: What the values are: "seeds", "runs" (non-reloading) or "samples" (pairs of seed and sample).
        left_out: How many values were not finite and are in neither mean nor n.
        note: Why there is no mean; empty otherwise.
        low, median, high: The least, the middle and the largest value; None where there is no value.
        carried: Size of the largest value, in sums of all: 0.62 where one sample makes 62 % of the mean.
        tailed: Whether the median stands before the mean.
    """

    mean: float | None
    sd: float | None
    n: int
    over: str
    left_out: int = 0
    note: str = ""
    low: float | None = None
    median: float | None = None
    high: float | None = None
    carried: float = 0.0
    tailed: bool = False

    @property
    def told(self) -> float | str:
        """The mean, or why there is none: what stands in a csv file."""
        return self.note if self.mean is None else self.mean


def absent(over: str, note: str = MISSING) -> Summary:
    """Return the summary of what is not there."""
    return Summary(None, None, 0, over, note=note)


def summarize(values: Values, over: str, otherwise: str = NO_SAMPLES) -> Summary:
    """Return mean and sample standard deviation of the finite values; where there is no value, `otherwise` says so."""
    finite = values[np.isfinite(values)]
    left_out = int(values.size - finite.size)
    if finite.size == 0:
        return Summary(None, None, 0, over, left_out, NOT_FINITE if left_out else otherwise)
    low, middle, high = float(finite.min()), float(np.median(finite)), float(finite.max())
    if low == high:  # runs that are the same are one
        return Summary(low, None, int(finite.size), over, left_out, low=low, median=low, high=low)
    mean, sd, total = float(np.mean(finite)), float(np.std(finite, ddof=1)), abs(float(np.sum(finite)))
    carried = float(np.abs(finite).max()) / total if total else np.inf
    return Summary(mean, sd, int(finite.size), over, left_out, "", low, middle, high, carried)


@dataclass(frozen=True)
class Metric:
    """A metric and how to read it.

    Attributes:
        name: In the csv files and in the reference values.
        label: For people, with the unit.
        over: "seeds" where `values` gives one value per seed, "samples" where it gives one per sample.
        values: From samples to values.
        setting: The one setting that it has a meaning in; None where it has one in both.
        harm: Which of its values do harm: "largest" or "smallest"; empty where nobody asks.
        nothing: What a value that is not finite means.
        accumulated: Over which samples a mean is in the non-reloading setting.
        tailed: Whether single samples carry its mean, so that the median stands first.
    """

    name: str
    label: str
    over: str
    values: Callable[[pd.DataFrame], Values]
    setting: str | None = None
    harm: str = ""
    nothing: str = NOT_FINITE
    accumulated: Population = "corrected"
    tailed: bool = False

    @property
    def absent(self) -> Summary:
        """The summary of a method without a run."""
        return absent(self.over)


_training_accuracy_change = partial(_difference, after="train_accuracy", before="base_train_accuracy")
METRICS = {
    metric.name: metric
    for metric in (
        Metric("POC", "POC (%)", "seeds", corrections),
        Metric("POPA", "POPA (%)", "samples", parameters_altered, accumulated="all"),
        Metric("POPA_corrected", "POPA of corrections (%)", "samples", parameters_altered, NON_RELOADING),
        Metric("dTL", "ΔTL", "samples", training_loss_change, tailed=True),
        Metric("dTL_released", "ΔTL, released accounting", "samples", released_training_loss_change),
        Metric("dTA", "ΔTA", "samples", test_accuracy_change),
        Metric("untouched_dTA", "ΔTA, untouched", "samples", untouched_accuracy_change),
        Metric("training_accuracy_change", "Δ training accuracy", "samples", _training_accuracy_change),
        # In nats, after the sample's turn (section 4.5.1, figure 4.2).
        Metric("sample_loss", "Sample loss", "samples", partial(column, name="sample_loss_after")),
        Metric(
            "early_test_accuracy", f"Test accuracy after {EARLY}", "seeds", early_test_accuracy, NON_RELOADING
        ),
        Metric("final_test_accuracy", "Final test accuracy", "seeds", final_test_accuracy, NON_RELOADING),
        Metric(
            "final_untouched_accuracy",
            "Final untouched accuracy",
            "seeds",
            final_untouched_accuracy,
            NON_RELOADING,
        ),
        Metric("final_training_loss", "Final training loss", "seeds", final_training_loss, NON_RELOADING),
        Metric("retained", "Retained (%)", "seeds", retained, NON_RELOADING),
    )
}


def label_of(metric: Metric, samples: pd.DataFrame) -> str:
    """Return a metric's label as it is true of some samples: "after 50" where there are as many."""
    count = 0 if samples.empty else int(samples["position"].max()) + 1
    if metric.values is early_test_accuracy and 0 < count < EARLY:
        return f"Test accuracy at the end, after {count}"
    return metric.label


def accumulates(samples: pd.DataFrame) -> bool:
    """Whether samples are of the non-reloading setting, in which each outcome depends on those before it."""
    return bool((samples["setting"] == NON_RELOADING).any())


def is_distribution(samples: pd.DataFrame) -> bool:
    """Whether the runs of a method are enough to say where it ends: `ENOUGH_RUNS` different ones, replicas of N0 tried.

    A run from a replica may be the same as another run: it is none of its own, but `drawn` says that it was made. In
    the reloading setting they always are: there rounding moves the odd sample and no more.
    """
    enough = samples["run_id"].nunique() >= ENOUGH_RUNS and bool((samples["rounded"] > 0).any())
    return enough or not accumulates(samples)


def measure(samples: pd.DataFrame, metric: Metric, population: Population | None = None) -> Summary:
    """Summarize a metric over the samples of one network, setting and method.

    Metrics per sample are averaged over the pooled pairs of seed and sample in `population`, the metric's own where
    nothing is said; metrics per seed use every sample. In the non-reloading setting a run is one value: its metrics are
    over runs.
    """
    accumulated = len(samples) > 0 and accumulates(samples)
    if metric.over == "seeds":
        over = "runs" if accumulated else "seeds"
        found = summarize(metric.values(samples), over, NOT_RECORDED if len(samples) else NO_SAMPLES)
    else:
        chosen = population or (metric.accumulated if accumulated else "corrected")
        values = metric.values(of_population(samples, chosen))
        found = summarize(values, "samples", NONE_CORRECTED if len(samples) else NO_SAMPLES)
        found = replace(found, tailed=metric.tailed)
    return replace(found, note=metric.nothing) if found.note == NOT_FINITE else found
