"""What the tables and figures of every probe have in common: its runs, their scale, their bootstrap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from bgd.rng import stream
from experiments.records.schema import PROBE, Measurement, Run, subject
from experiments.report.captions import describe_base, describe_sizes, is_reduced, warnings
from experiments.report.frames import ReportError, network_seed_of
from experiments.report.metrics import NONE_CORRECTED
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Thesis
from experiments.report.sheet import bracketed
from experiments.report.style import network_label

RESAMPLES = 2000
LOW, HIGH = 2.5, 97.5  # percentiles of a 95 % interval

Values = npt.NDArray[np.float64]


def by_network(runs: Sequence[Run], probe: str) -> dict[str, Run]:
    """Return the run of a probe for each network that has one with any sample.

    Raises:
        ReportError: Two runs have the same network: which one is meant?
    """
    found: dict[str, Run] = {}
    for run in runs:
        spec = run.header.spec
        if PROBE not in spec or spec[PROBE]["name"] != probe or not run.measurements:
            continue
        network = spec["network"]["name"]
        if network in found:
            other = found[network].header.run_id
            raise ReportError(f"two runs of {probe} on {network}: {other} and {run.header.run_id}")
        found[network] = run
    return found


def measurements(run: Run) -> list[Measurement]:
    """Return the measurements of each sample, in the order of the samples."""
    return sorted(run.measurements, key=lambda item: item.position)


def facts(run: Run) -> pd.DataFrame:
    """Return the facts of a run that `experiments.report.captions` reads."""
    header, base = run.header, run.header.base
    expected = base.get("expected_errors")
    return pd.DataFrame(
        {
            "run_samples": [header.samples],
            "errors": [base["errors"]],
            "expected_errors": pd.Series([tuple(expected) if expected else None], dtype=object),
            "train_images": [header.train_images],
            "test_images": [header.test_images],
            "base_id": [str(base.get("id", ""))],
            "network_seed": [network_seed_of(header.spec)],
            "setting": [subject(header.spec)[1]],
        }
    )


def scale(network: str, run: Run | None) -> str:
    """Return how large a network and its run are, or that there is none."""
    label = network_label(network)
    if run is None:
        return f"{label}: missing, no run of it is among the records."
    header, base = run.header, run.header.base
    parameters = format_count(int(base["parameters"]))
    part = header.train_part or header.train_images
    counts = (header.samples, base["errors"], header.train_images, part, header.test_images)
    sizes = map(format_count, counts)
    size = "reduced scale" if is_reduced(facts(run)) else "full scale"
    return f"{label}, {parameters} parameters, {size}: {describe_sizes(list(sizes))}."


def describe(network: str, run: Run | None, thesis_errors: int | None = None) -> str:
    """Return a network's scale and how many test images its N0 gets wrong, or that there is no run."""
    text = scale(network, run)
    return text if run is None else f"{text} {describe_base(facts(run), thesis_errors)}"


def describe_all(found: Mapping[str, Run], networks: Sequence[str], thesis: Thesis) -> list[str]:
    """Describe each network."""
    return [describe(network, found.get(network), thesis.errors_of(network)) for network in networks]


def bold(network: str, run: Run | None) -> list[str]:
    """Return the faults of the N0 of a run, by network."""
    return [] if run is None else [f"{network_label(network)}: {text}" for text in warnings(facts(run))]


def footnotes(found: Mapping[str, Run], networks: Sequence[str]) -> list[str]:
    """Return the scale of each network's run, and what is wrong with its N0, for the foot of a figure."""
    return [*(scale(network, found.get(network)) for network in networks), *loud_all(found, networks)]


def loud_all(found: Mapping[str, Run], networks: Sequence[str]) -> list[str]:
    """Return the faults of the N0 of each network."""
    return [text for network in networks for text in bold(network, found.get(network))]


def absent_text(network: str, probe: str) -> str:
    """Return the text of a panel without a run."""
    return f"missing: no run of {probe}\non {network_label(network)}\namong the records"


@lru_cache(maxsize=8)
def resamples(count: int, *name: str) -> Values:
    """Return how often each of `count` samples is drawn in each resample with replacement.

    Args:
        count: How many samples there are, and are drawn.
        *name: What the bootstrap is for; the same name and count give the same draws.

    Returns:
        An array (`RESAMPLES`, count) of whole numbers whose rows add up to `count`.
    """
    draws = stream(0, "bootstrap", *name).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return draws.astype(np.float64)


def share_interval(hits: npt.NDArray[np.bool_], draws: Values) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the share of samples that are hits."""
    low, high = np.percentile(draws @ hits.astype(np.float64) / hits.size, (LOW, HIGH))
    return float(low), float(high)


@dataclass(frozen=True)
class Estimate:
    """A mean, the ends of its 95 % percentile bootstrap interval over samples, and the number of values."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def ends(self) -> tuple[float, float, float]:
        """The mean and the ends of its interval."""
        return (self.mean, self.low, self.high)

    @property
    def text(self) -> str:
        """For people."""
        return bracketed(*map(format_number, self.ends)) if self.n else NONE_CORRECTED


def estimate(values: npt.ArrayLike, samples: npt.ArrayLike, *name: str) -> Estimate:
    """Return the mean of some values; all values of a sample are drawn together. NaN where there is no value.

    Args:
        values: (n,), finite.
        samples: (n,), the sample that each is of.
        *name: What the bootstrap is for.
    """
    known = np.asarray(values, dtype=np.float64)
    if not known.size:
        return Estimate(np.nan, np.nan, np.nan, 0)
    ids, sample_of = np.unique(np.asarray(samples), return_inverse=True)
    draws = resamples(ids.size, *name)
    again = (draws @ np.bincount(sample_of, known)) / (draws @ np.bincount(sample_of))
    low, high = np.percentile(again, (LOW, HIGH))
    return Estimate(float(known.mean()), float(low), float(high), known.size)
