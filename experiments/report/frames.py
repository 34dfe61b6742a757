"""Runs -> frames: one row per sample, one row per run."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd

from experiments.records.schema import (
    NON_RELOADING,
    PROBE,
    Accumulated,
    Baseline,
    Figures,
    Header,
    RecordError,
    Row,
    Run,
    SideEffects,
    subject,
)

FIGURES = tuple(item.name for item in fields(Figures))
_NOT_COLUMNS = {  # flattened; too large; lists
    *("figures", "side_effects", "accumulated", "generality", "survival"),
    *("patch", "layers", "logits_after", "confusion"),
}


def _columns(of: type) -> tuple[str, ...]:
    return tuple(item.name for item in fields(of) if item.name not in _NOT_COLUMNS)


SAMPLE, SIDE_EFFECTS, ACCUMULATED = _columns(Row), _columns(SideEffects), _columns(Accumulated)
IDENTITY = ("network", "setting", "method", "seed", "order", "network_seed", "run_id")
BASELINE = _columns(Baseline)
BASE = tuple(f"base_{name}" for name in (*FIGURES, *BASELINE))
RUN = (
    *(
        "base_id",
        "replica",
        "parameters",
        "errors",
        "run_samples",
        "train_images",
        "train_part",
        "test_images",
    ),
    "retained",
)
_REAL = {*FIGURES, *BASE, *ACCUMULATED, "l1", "l2", "linf", "search_seconds", "evaluation_seconds"}
_REAL |= {"sample_loss_before", "sample_loss_after", "retained"}
_TEXT = {"network", "setting", "method", "run_id", "outcome", "reason", "base_id"}


KEPT = "_kept"
# Up to where corrections from N0 and from a replica are one, rounded otherwise: the relative difference of L2 norms and
# of the sample's losses, of which those below `NO_LOSS` (nats) have no digits; the difference of accuracies, or as many
# images. Two seeds of one method are one up to `EXACT`, which is what a sweep keeps.
SAME, NO_LOSS, ON_THE_EDGE = 1e-3, 1e-6, 3
EXACT = 1e-5
REPLICAS = ("rounding", "rounding_alexnet")  # presets with runs from replicas of N0
ORDERS = ("orders", "orders_alexnet")
NETWORKS_IN_A_ROW = ("base_networks_in_a_row", "base_networks_in_a_row_alexnet")
DRAWS = (*REPLICAS, *ORDERS, *NETWORKS_IN_A_ROW)  # presets with more runs of the non-reloading setting
# Seeds are below the first, a thousand replicas below the second, 256 orders below the third; 31 N0 above it.
REPLICA, ORDER, NETWORK = 2**40, 2**50, 2**58


class ReportError(RecordError):
    """The records or the definitions cannot make a report."""


@dataclass(frozen=True)
class Frames:
    """What a report is made of.

    Attributes:
        samples: One row per sample and run, in order of network, setting, method, seed, position. Columns:
            the numbers of `Row`, its `Figures`, `SideEffects` and `Accumulated`, the `Figures` and the
            `Baseline` of N0 as `base_...`, and those of the run. What was None, because it is not finite or not
            of this setting, is NaN.
        runs: One row per run: `network`, `setting`, `method`, `seed`, `run_id`, `base_id`, `errors`,
            `expected_errors` (a pair or None), `run_samples`, `train_images`, `train_part` (as many where figures are
            over all of them), `test_images`, `parameters`, `retained`, N0's figures, and `train_loss_error`, the root
            mean square of that of its rows, NaN without any.

    A run from a replica of N0 is another draw of the same method: its `seed` is the method's seed plus `REPLICA` times
    the number of the replica, which is in the column `replica`, 0 for N0 itself. Both have `order` (of the samples) and
    `network_seed` (of N0's recipe), and a column for each of the `axes` that `build_frames` was asked for.
    """

    samples: pd.DataFrame
    runs: pd.DataFrame

    def select(self, **values: object) -> "Frames":
        """Return the part with these values; a tuple is a choice: `network="mlp", order=(0, 1)`."""
        return Frames(_where(self.samples, values), _where(self.runs, values))


def _where(frame: pd.DataFrame, values: dict[str, object]) -> pd.DataFrame:
    keep = np.ones(len(frame), dtype=np.bool_)
    for name, value in values.items():
        found = frame[name].isin(value) if isinstance(value, tuple) else frame[name] == value
        keep &= np.asarray(found, dtype=np.bool_)
    return frame[keep].reset_index(drop=True)


_of_figures, _of_baseline = attrgetter(*FIGURES), attrgetter(*BASELINE)
_of_sample, _of_side_effects = attrgetter(*SAMPLE), attrgetter(*SIDE_EFFECTS)
_of_accumulated = attrgetter(*ACCUMULATED)
# Not `l0`: of millions of parameters rounding leaves one more, or one less, where it was.
_of_decisions = attrgetter("index", "outcome", "altered", "steps", "forward_passes")
_of_norm, _of_loss = attrgetter("l2"), attrgetter("sample_loss_after")
_of_accuracies = attrgetter("figures.train_accuracy", "figures.test_accuracy")


def _sample_values(row: Row) -> tuple[Any, ...]:
    """Return a row's values in the order SAMPLE, FIGURES, SIDE_EFFECTS, ACCUMULATED."""
    accumulated = (None,) * len(ACCUMULATED) if row.accumulated is None else _of_accumulated(row.accumulated)
    return (*_of_sample(row), *_of_figures(row.figures), *_of_side_effects(row.side_effects), *accumulated)


def _run_values(header: Header) -> tuple[Any, ...]:
    """Return a run's values in the order IDENTITY, RUN, BASE."""
    spec, base = header.spec, header.base
    if PROBE in spec:
        raise ReportError(f"run {header.run_id} is of a probe: it corrects nothing")
    part = header.train_part or header.train_images
    scale = (header.samples, header.train_images, part, header.test_images)
    retained = header.summary.get("retained")
    about = (
        str(base.get("id", "")),
        spec.get("replica", 0),
        base["parameters"],
        base["errors"],
        *scale,
        retained,
    )
    known = (*_of_figures(header.figures), *_of_baseline(header.baseline))
    return (*identity_of(spec), header.run_id, *about, *known)


def draws(runs: Sequence[Run]) -> list[Run]:
    """Select runs from N0 itself, and in the non-reloading setting from its replicas as well.

    There a decision that rounding turns changes everything after it: a replica is as good a draw as another seed. Of
    runs that are the same, because the method draws nothing or because rounding turns none of its decisions, one is
    left: from N0 itself before a replica, of the smallest seed. It counts once, however many it stands for.
    """
    return [own[0] for own in _alike(runs)]


def _alike(runs: Sequence[Run]) -> list[list[Run]]:
    """Group the runs that `draws` selects from; those of a group are the same as its first."""
    alike: dict[tuple[Any, ...], list[list[Run]]] = {}
    for run in sorted(runs, key=lambda run: (_replica(run), run.header.spec["seed"], run.header.run_id)):
        spec = run.header.spec
        if not _replica(run) or subject(spec)[1] == NON_RELOADING:
            others = {name: value for name, value in spec.items() if name not in ("seed", "replica")}
            decided = tuple(map(_of_decisions, run.rows)) or run.header.run_id
            groups = alike.setdefault((repr(others), decided), [])
            own = next((group for group in groups if _are_same(group[0], run)), None)
            if own is None:
                groups.append([run])
            else:
                own.append(run)
    return [own for groups in alike.values() for own in groups]


def _are_same(run: Run, other: Run) -> bool:
    """Return whether corrections that took the same decisions are the same changes; of replicas, but for rounding."""
    rounded = _replica(run) != _replica(other)
    relative, share, images = (SAME, SAME, ON_THE_EDGE) if rounded else (EXACT, 0.0, 0)
    header = run.header
    counts = np.array([header.train_part or header.train_images, header.test_images])
    edge = np.maximum(share, images / counts)
    return (
        _close(_of_norm, run.rows, other.rows, rtol=relative, atol=0)
        and _close(_of_loss, run.rows, other.rows, rtol=relative, atol=NO_LOSS)
        and _close(_of_accuracies, run.rows, other.rows, rtol=0, atol=edge + 1e-12)
    )


def _close(values: Callable[[Row], Any], rows: Sequence[Row], others: Sequence[Row], **within: Any) -> bool:
    ours, theirs = (np.array(list(map(values, own)), dtype=np.float64) for own in (rows, others))
    return bool(np.allclose(ours, theirs, equal_nan=True, **within))


def _replica(run: Run) -> int:
    return int(run.header.spec.get("replica", 0))


def drawn(runs: Sequence[Run]) -> Frames:
    """Return the frames of `draws`, in which another order of the samples, or another N0, is another `seed` too.

    Both have the column `rounded`: how many runs from replicas of N0 a run stands for.
    """
    groups = _alike(runs)
    frames = build_frames([own[0] for own in groups])
    rounded = {own[0].header.run_id: sum(_replica(run) > 0 for run in own) for own in groups}
    places = {seed: place for place, seed in enumerate(sorted(set(frames.runs["network_seed"])))}

    def told_apart(frame: pd.DataFrame) -> pd.DataFrame:
        network = frame["network_seed"].map(places).astype("int64")
        seed = frame["seed"] + ORDER * frame["order"] + NETWORK * network
        return frame.assign(seed=seed, rounded=frame["run_id"].map(rounded).astype("int64"))

    return Frames(told_apart(frames.samples), told_apart(frames.runs))


def by_recipe(runs: Iterable[Run]) -> dict[str, list[list[Run]]]:
    """Part runs by network, and those of a network by how N0 was trained, whatever its seed.

    First the part with the most images, those of probes left out where there are others.
    """
    found: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        network = subject(run.header.spec)[0]
        found.setdefault(network, {}).setdefault(recipe_of(run.header.spec), []).append(run)

    def place(part: tuple[str, list[Run]]) -> tuple[bool, int, str]:
        recipe, own = part
        sizes = [
            run.header.train_images + run.header.test_images for run in own if PROBE not in run.header.spec
        ]
        return not sizes, -max(sizes, default=0), recipe

    return {network: [own for _, own in sorted(parts.items(), key=place)] for network, parts in found.items()}


def at_one_scale(runs: Iterable[Run], methods: Iterable[str]) -> list[Run]:
    """Select of each network the runs at its largest scale that has every method, else those at its smallest."""
    found: list[Run] = []
    wanted = set(methods)
    for scales in by_recipe(runs).values():
        whole = (own for own in scales if {subject(run.header.spec)[2] for run in own} >= wanted)
        found += next(whole, scales[-1])
    return found


def recipe_of(spec: dict[str, Any]) -> str:
    """Describe how N0 of a run was trained, but for its seed."""
    return repr(sorted({**(option(spec, "scale.recipe") or {}), "seed": None}.items()))


def identity_of(spec: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells a run from others of its scale, in the order of IDENTITY; but for its id."""
    network, setting, _ = subject(spec)
    seed = spec["seed"] + REPLICA * spec.get("replica", 0)
    return (network, setting, method_of(spec), seed, spec.get("order", 0), network_seed_of(spec))


def network_seed_of(spec: dict[str, Any]) -> int:
    """Return the seed that N0 of a run was trained with."""
    seed: int = option(spec, "scale.recipe.seed") or 0
    return seed


def method_of(spec: dict[str, Any]) -> str:
    """Name a run's method: one that keeps its optimizer from sample to sample is another (docs/deviations.md, D15)."""
    return subject(spec)[2] + (KEPT if option(spec, "method.carry_momentum") else "")


def option(spec: dict[str, Any], key: str) -> Any:
    """Return the value at a dotted key of a header's `spec`, None where there is none."""
    value: Any = spec
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _typed(records: list[tuple[Any, ...]], columns: tuple[str, ...], axes: Sequence[str]) -> pd.DataFrame:
    """Return records as a frame: `columns` of their types, those of `axes` as they come."""
    frame = pd.DataFrame.from_records(records, columns=[*columns, *axes])
    types = {name: "float64" if name in _REAL else object if name in _TEXT else "int64" for name in columns}
    return frame.astype(types).copy()  # in one piece: columns are added later


def _refuse_twins(abouts: Sequence[tuple[Any, ...]], options: Sequence[tuple[Any, ...]]) -> None:
    """Refuse two runs that a table could not tell apart: it would pool them unseen."""
    seen: dict[str, str] = {}
    names = len(IDENTITY) - 1
    for about, axes in zip(abouts, options, strict=True):
        identity = ", ".join(map(str, (*about[:names], *axes)))
        if identity in seen:
            raise ReportError(f"two runs of ({identity}): {seen[identity]} and {about[names]}")
        seen[identity] = str(about[names])


def build_frames(runs: Sequence[Run], axes: Sequence[str] = ()) -> Frames:
    """Return the frames of runs.

    Args:
        runs: Of corrections.
        axes: Dotted keys of `Header.spec`, for example `method.update.step`: options in which the runs may differ.

    Raises:
        ReportError: Two runs have the same network, setting, method, seed, order, N0 seed and axes, or a run is
            of a probe.
    """
    of_runs = [_run_values(run.header) for run in runs]
    options = [tuple(option(run.header.spec, key) for key in axes) for run in runs]
    _refuse_twins(of_runs, options)
    of_samples = [
        (*about, *_sample_values(row), *values)
        for run, about, values in zip(runs, of_runs, options, strict=True)
        for row in run.rows
    ]
    known = (*IDENTITY, *RUN, *BASE)
    samples = _typed(of_samples, (*known, *SAMPLE, *FIGURES, *SIDE_EFFECTS, *ACCUMULATED), axes)
    headers = _typed([(*each, *more) for each, more in zip(of_runs, options, strict=True)], known, axes)
    expected = [run.header.base.get("expected_errors") for run in runs]
    headers["train_loss_error"] = pd.Series([_loss_error(run) for run in runs], dtype="float64")
    headers["expected_errors"] = pd.Series([tuple(pair) if pair else None for pair in expected], dtype=object)
    order = ["network", "setting", "method", "network_seed", "order", *axes, "seed"]
    return Frames(_ordered(samples, [*order, "position"]), _ordered(headers, order))


def _loss_error(run: Run) -> float:
    """Return the root mean square of the standard errors of the training losses of a run; NaN where none has one."""
    errors = [row.figures.train_loss_error for row in run.rows if row.figures.train_loss_error is not None]
    return math.sqrt(math.fsum(error**2 for error in errors) / len(errors)) if errors else math.nan


def _ordered(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Sort by columns of any type."""
    return frame.sort_values(by, kind="stable", key=_sortable).reset_index(drop=True)


def _sortable(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.map(str) if column.dtype == object else column


def corrections_of(runs: Sequence[Run], axes: Sequence[str] = (), **values: object) -> Frames:
    """Return the frames of those runs that correct something and have these values."""
    return build_frames([run for run in runs if PROBE not in run.header.spec], axes).select(**values)
