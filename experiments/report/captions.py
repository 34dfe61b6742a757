"""What a reader must know before believing a table or a figure: the scale and the N0."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from experiments.records.schema import NON_RELOADING
from experiments.report.frames import REPLICA
from experiments.report.numbers import counted, format_count, listing, span
from experiments.report.style import method_order, method_style, network_label, setting_label

FULL_TRAIN_IMAGES, FULL_TEST_IMAGES = 54_000, 10_000  # the thesis' D and test set

Numbers = tuple[int, ...]
_DRAW = ["network_seed", "order", "replica", "seed"]  # columns of `experiments.report.frames`
_SIZES = ["run_samples", "errors", "train_images", "train_part", "test_images"]
ALL = -1  # of N0's errors


def is_reduced(runs: pd.DataFrame) -> bool:
    """Return whether any run has fewer samples or images than the thesis' scale asks for."""
    fewer_samples = runs["run_samples"] < runs["errors"]
    fewer_images = (runs["train_images"] < FULL_TRAIN_IMAGES) | (runs["test_images"] < FULL_TEST_IMAGES)
    return bool((fewer_samples | fewer_images).any())


def is_partial(runs: pd.DataFrame) -> bool:
    """Return whether any run is of a reduced scale, or has its figures over D from a part of it."""
    return is_reduced(runs) or bool((runs["train_part"] < runs["train_images"]).any())


def describe_scale(runs: pd.DataFrame) -> str:
    """Say how many samples, images, seeds, replicas and N0 runs have, method by method where methods differ."""
    if runs.empty:
        return "No runs."
    # All errors are all errors, of whichever N0.
    sizes = runs[_SIZES].assign(
        run_samples=runs["run_samples"].mask(runs["run_samples"] == runs["errors"], ALL)
    )
    columns = (runs["method"], *(sizes[name] for name in _SIZES if name != "errors"))
    alike: dict[tuple[str, Numbers], list[Any]] = {}
    for run, method, *values in zip(runs.index, *columns, strict=True):
        alike.setdefault((str(method), tuple(map(int, values))), []).append(run)
    parts: dict[tuple[Numbers, tuple[Numbers, ...]], list[Any]] = {}
    for (_, size), own in sorted(alike.items()):
        parts.setdefault((size, tuple(_draws(runs.loc[own]))), []).extend(own)
    first = int(runs["network_seed"].min())
    described = []
    for (_, draws), own in parts.items():
        part = runs.loc[own]
        text = _describe(_spans(part), draws, first) + _unmoved(part) + _error(part)
        names = listing([method_style(name).label for name in method_order(part["method"].unique())])
        described.append(f"{names}: {text}" if len(parts) > 1 else text)
    return f"{'Reduced' if is_reduced(runs) else 'Full'} scale: {'; '.join(described)}."


def describe_scale_briefly(runs: pd.DataFrame) -> str:
    """Return the same as one phrase, with ranges instead of method by method."""
    size = "reduced scale" if is_reduced(runs) else "full scale"
    return f"{size}, {_describe(_spans(runs), _draws(runs), int(runs['network_seed'].min()))}"


def _draws(runs: pd.DataFrame) -> list[Numbers]:
    return sorted(set(runs[_DRAW].astype(int).itertuples(index=False, name=None)))


def _spans(runs: pd.DataFrame) -> list[str]:
    return [span(runs[name].astype(int).tolist()) for name in _SIZES]


def describe_sizes(sizes: Sequence[str]) -> str:
    """Say how many samples there are of how many errors, and how many training and test images."""
    samples, errors, train_images, train_part, test_images = sizes
    count = f"all {errors}" if samples == errors else f"{samples} of {errors}"
    part = "" if train_part == train_images else f" (by a stratified {train_part} of them)"
    return f"{count} misclassified samples, {train_images} training{part} and {test_images} test images"


def _unmoved(runs: pd.DataFrame) -> str:
    """Say from how many replicas of N0 runs are the same as from N0; empty where they differ, or none was tried."""
    tried = 0 if "rounded" not in runs or (runs["replica"] > 0).any() else int(runs["rounded"].max())
    return f", the same from {counted(tried, 'replica')} of N0" if tried else ""


def _error(runs: pd.DataFrame) -> str:
    """Say how exact a training loss is that is estimated from a part of D; empty where none is."""
    errors = runs["train_loss_error"].dropna()
    if errors.empty:
        return ""
    low, high = (f"{value:.2g}" for value in (errors.min(), errors.max()))
    return f", standard error of a training loss {low if low == high else f'{low} to {high}'} nats (root mean square)"


def _describe(sizes: Sequence[str], draws: Sequence[Numbers], first: int) -> str:
    """Describe draws, where `first` is the seed of the N0 that others are other to."""
    seeds = sorted(
        {
            seed % REPLICA
            for network, order, replica, seed in draws
            if (network, order, replica) == (first, 0, 0)
        }
    )
    others, orders, replicas = (
        len({draw[place] for draw in draws} - {own}) for place, own in enumerate((first, 0, 0))
    )
    parts = [f"seed{'s' if len(seeds) > 1 else ''} {listing(list(map(str, seeds)))}"] if seeds else []
    parts += [f"{counted(replicas, 'replica')} of N0"] if replicas else []
    parts += [counted(orders, "other order")] if orders else []
    parts += [f"{others} other N0"] if others else []
    return f"{describe_sizes(sizes)}, {listing(parts)}"


def describe_base(runs: pd.DataFrame, thesis_errors: int | None = None) -> str:
    """Return how many test images N0 gets wrong."""
    if runs.empty:
        return ""
    counts = [format_count(int(errors)) for errors in sorted(runs["errors"].unique())]
    thesis = f" (thesis: {format_count(thesis_errors)})" if thesis_errors is not None else ""
    return f"N0 gets {listing(counts)} test images wrong{thesis}."


def warnings(runs: pd.DataFrame) -> list[str]:
    """Return the faults of the N0 that runs start from; empty where there are none."""
    found = []
    outside = {
        (int(errors), tuple(expected))
        for errors, expected in zip(runs["errors"], runs["expected_errors"], strict=True)
        if expected is not None and not expected[0] <= errors <= expected[1]
    }
    for errors, (low, high) in sorted(outside):
        band = f"{format_count(low)} to {format_count(high)}"
        found.append(f"WARNING: N0 has {format_count(errors)} errors, outside the expected {band}.")
    # In a row an N0 of another seed is another draw.
    seeds = runs["network_seed"].where(runs["setting"] == NON_RELOADING, 0)
    different = int(runs.groupby(seeds)["base_id"].nunique().max()) if len(runs) else 0
    if different > 1:
        found.append(f"WARNING: the runs start from {different} different N0.")
    return found


def warnings_of(runs: pd.DataFrame, column: str, labels: Mapping[Any, str]) -> list[str]:
    """Return the faults of N0 among the runs with each value of a column, behind the value's label."""
    return [
        f"{label}: {text}"
        for value, label in labels.items()
        for text in warnings(runs[runs[column] == value])
    ]


def absent_text(network: str, setting: str) -> str:
    """Return the text of a panel without runs."""
    return f"no runs of {network_label(network)}\nin the {setting_label(setting)} setting\namong the records"


def describe_missing(labels: Sequence[str], start: str = "Missing, no run") -> str:
    """Return which runs are not among the records; empty where all are."""
    return f"{start} among the records: {listing(list(labels))}." if labels else ""


def describe_left_out(counts: Iterable[tuple[str, str, int]], of: str = "Rows") -> str:
    """Return how many values were not finite, by their label and the method; empty where all are."""
    told = [f"{label} of {method_style(name).label}: {format_count(n)}" for label, name, n in counts if n]
    return f"{of} left out because a loss is not finite: {'; '.join(told)}." if told else ""
