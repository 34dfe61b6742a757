"""A bank of lanes from its trainings to its rows, a file for each lane that is done."""

import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from experiments.companions.measures import measured
from experiments.companions.plan import Lane, Settings, file_of
from experiments.companions.refit import refit
from experiments.companions.train import Trained, train
from experiments.jobs.provenance import revision
from experiments.records.companions import CompanionRow, rounded, write_rows


def work(settings: Settings, lanes: Sequence[Lane]) -> float:
    """Train a bank and write its rows. Return the seconds it took."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
    root, seconds = settings.data, 0.0
    for lane, trained in zip(lanes, train([lane.training for lane in lanes], root), strict=True):
        row = row_of(lane, refit(trained, root), root)
        write_rows(file_of(settings, lane.job), [row])
        seconds += row.seconds
    return seconds


def row_of(lane: Lane, trained: Trained, root: Path) -> CompanionRow:
    """Make the row of a lane that is trained."""
    history, found = trained.history, measured(trained, root, lane.measures)
    last = {name: values[-1] for name, values in history.items()}
    first = {f"start_{name}": history[name][0] for name in ("norm", "test_loss", "test_accuracy")}
    values = {**last, **first, "steps": float(trained.stopped), **found.values}
    return CompanionRow(
        lane.job,
        {name: rounded(value) for name, value in values.items()},
        {name: tuple(rounded(value) for value in each) for name, each in history.items()},
        {name: tuple(rounded(value) for value in each) for name, each in found.vectors.items()},
        round(trained.seconds, 3),
        provenance(),
    )


def provenance() -> dict[str, str]:
    """Tell what makes a row."""
    told = {name: str(value) for name, value in revision().items()}
    return {"python": sys.version.split()[0], "torch": version("torch"), **told}
