"""Runs of one method that differ along one axis: their values, and where those from replicas of N0 part."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.report.frames import REPLICA, Frames
from experiments.report.metrics import METRICS, MISSING, Summary, Values, measure, summarize
from experiments.report.variation import SEED

SAME = 1e-3  # relative difference of two L2 norms up to which they are one change, rounded otherwise


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


class Spread:
    """A method's runs along each axis in which they differ from the one of seed 0, order 0 and N0 itself.

    Attributes:
        rows: The samples of each run along an axis; `first` is that one run.
        values: By axis and metric, its mean in each run, NaN where a run has none.
    """

    def __init__(self, frames: Frames, metrics: Sequence[str]) -> None:
        runs, by_run = frames.runs, dict(iter(frames.samples.groupby("run_id")))
        n0, seed, order = runs["replica"] == 0, runs["seed"] % REPLICA == SEED, runs["order"] == 0
        network = runs["network_seed"] == 0
        along = {
            "first": n0 & seed & order & network,
            "replicas": ~n0 & seed & order & network,
            "seeds": n0 & order & network,
            "orders": n0 & seed & network,
            "networks": n0 & seed & order,
        }
        self.rows = {
            axis: [by_run[run_id] for run_id in runs.loc[own, "run_id"]] for axis, own in along.items()
        }
        self.values = {
            (axis, metric): np.array([_mean(rows, metric) for rows in self.rows[axis]], dtype=np.float64)
            for axis in self.rows
            for metric in metrics
        }

    def finite(self, axis: str, metric: str) -> Values:
        """Give the values that are numbers."""
        values = self.values[axis, metric]
        return values[np.isfinite(values)]

    def summary(self, axis: str, metric: str) -> Summary:
        """Summarize a metric over the runs along an axis."""
        return summarize(self.values[axis, metric], axis, otherwise=MISSING)

    def partings(self) -> list[Parting]:
        """Say of each replica where it parts from N0 itself; empty where no run of N0 itself is there."""
        return [parting(first, rows) for first in self.rows["first"] for rows in self.rows["replicas"]]

    def firsts(self) -> Values:
        """Give, for each replica that differs, the place of the first sample whose correction does."""
        places = [part.first for part in self.partings() if part.first is not None]
        return np.array(places, dtype=np.float64)


def _mean(rows: pd.DataFrame, metric: str) -> float:
    """Give a metric's mean in a run, without the last digits that the order of a sum leaves behind."""
    mean = measure(rows, METRICS[metric]).mean
    return np.nan if mean is None else round(mean, 12)
