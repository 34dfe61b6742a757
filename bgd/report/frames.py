"""Runs -> frames: one row per sample, one row per run."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd

from bgd.records import Figures, Header, Row, Run

FIGURES = tuple(item.name for item in fields(Figures))
_NOT_COLUMNS = ("figures", "patch", "layers")  # flattened; too large; a list
SAMPLE = tuple(item.name for item in fields(Row) if item.name not in _NOT_COLUMNS)
IDENTITY = ("network", "setting", "method", "seed", "run_id")
BASE = tuple(f"base_{name}" for name in FIGURES)
RUN = ("base_id", "parameters", "errors", "run_samples", "train_images", "test_images", "retained")
_REAL = {
    *FIGURES,
    *BASE,
    *("l1", "l2", "linf", "search_seconds", "evaluation_seconds"),
    *("sample_loss_before", "sample_loss_after", "retained"),
}
_TEXT = {"network", "setting", "method", "run_id", "outcome", "reason", "base_id"}


class ReportError(ValueError):
    """The records or the definitions cannot make a report."""


@dataclass(frozen=True)
class Frames:
    """What a report is made of.

    Attributes:
        samples: One row per sample and run, in order of network, setting, method, seed, position. Columns:
            the fields of `Row` (without patch and layers), its figures, N0's figures as `base_...`, and
            those of the run. What was None, because it is not finite, is NaN.
        runs: One row per run: `network`, `setting`, `method`, `seed`, `run_id`, `base_id`, `errors`,
            `expected_errors` (a pair or None), `run_samples`, `train_images`, `test_images`, `parameters`,
            `retained`, N0's figures.
    """

    samples: pd.DataFrame
    runs: pd.DataFrame

    def select(self, **values: str) -> "Frames":
        """Return the part with these values, for example `network="mlp", method="bgd_ii"`."""
        return Frames(_where(self.samples, values), _where(self.runs, values))


def _where(frame: pd.DataFrame, values: dict[str, str]) -> pd.DataFrame:
    keep = np.ones(len(frame), dtype=np.bool_)
    for name, value in values.items():
        keep &= np.asarray(frame[name] == value, dtype=np.bool_)
    return frame[keep]


def _run_values(header: Header) -> tuple[Any, ...]:
    """Return a run's values in the order IDENTITY, RUN, BASE."""
    spec, base = header.spec, header.base
    identity = (spec["network"]["name"], spec["setting"]["name"], spec["method"]["name"], spec["seed"])
    scale = (header.samples, header.train_images, header.test_images)
    retained = header.summary.get("retained")
    about = (str(base.get("id", "")), base["parameters"], base["errors"], *scale, retained)
    return (*identity, header.run_id, *about, *(getattr(header.figures, name) for name in FIGURES))


def _typed(records: list[tuple[Any, ...]], columns: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame.from_records(records, columns=list(columns))
    types = {name: "float64" if name in _REAL else object if name in _TEXT else "int64" for name in columns}
    return frame.astype(types)


def _refuse_twins(runs: Sequence[Run]) -> None:
    """Refuse two runs of the same network, setting, method and seed: a table would pool them unseen."""
    seen: dict[tuple[Any, ...], str] = {}
    for run in runs:
        identity = _run_values(run.header)[: len(IDENTITY) - 1]
        if identity in seen:
            raise ReportError(f"two runs of {identity}: {seen[identity]} and {run.header.run_id}")
        seen[identity] = run.header.run_id


def build_frames(runs: Sequence[Run]) -> Frames:
    """Return the frames of runs.

    Raises:
        ReportError: Two runs have the same network, setting, method and seed.
    """
    _refuse_twins(runs)
    of_sample, of_figures = attrgetter(*SAMPLE), attrgetter(*FIGURES)
    of_runs: list[tuple[Any, ...]] = []
    of_samples: list[tuple[Any, ...]] = []
    for run in runs:
        about = _run_values(run.header)
        of_runs.append(about)
        of_samples.extend((*about, *of_sample(row), *of_figures(row.figures)) for row in run.rows)
    samples = _typed(of_samples, (*IDENTITY, *RUN, *BASE, *SAMPLE, *FIGURES))
    headers = _typed(of_runs, (*IDENTITY, *RUN, *BASE))
    expected = [run.header.base.get("expected_errors") for run in runs]
    headers["expected_errors"] = pd.Series([tuple(pair) if pair else None for pair in expected], dtype=object)
    order = ["network", "setting", "method", "seed"]
    return Frames(
        samples.sort_values([*order, "position"], kind="stable").reset_index(drop=True),
        headers.sort_values(order, kind="stable").reset_index(drop=True),
    )
