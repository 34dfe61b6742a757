"""What each part of BGD-II buys: the algorithm with one part changed at a time, sample by sample against the whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.records.schema import Run
from experiments.report.captions import describe_base, describe_scale, warnings
from experiments.report.frames import Frames, ReportError, corrections_of
from experiments.report.metrics import (
    NONE_CORRECTED,
    Summary,
    correct,
    corrected,
    parameters_altered,
    summarize,
    test_accuracy_change,
    training_loss_change,
)
from experiments.report.numbers import format_count, format_number, format_summary, listing
from experiments.report.part import Made, Study
from experiments.report.sheet import Block, bracketed
from experiments.report.style import network_label
from experiments.report.surveys import HIGH, LOW, Values, resamples

LABELS = {
    "POC": "POC (%)",
    "POPA": "POPA (%)",
    "altered": "parameters",
    "dTL": "ΔTL",
    "dTL_median": "median ΔTL",
    "dTA": "ΔTA",
    "steps": "iterations",
    "forward_passes": "passes",
}
OF_EVERY_PAIR = ("steps", "forward_passes")  # uncorrected ones included
DIFFERENCES = {"POC": "ΔPOC (points)", "POPA": "ΔPOPA (points)", "dTA": "ΔΔTA"}
DIGITS = 12  # decimals of a difference: the rest is what a subtraction leaves behind


@dataclass(frozen=True)
class Variant:
    """The algorithm with some options at other values.

    Attributes:
        label: For people.
        values: Dotted key of `Header.spec` and value, of the options that differ; of the first variant, of all.
    """

    label: str
    values: tuple[tuple[str, object], ...]


class Difference(NamedTuple):
    """Mean of paired differences, ends of its interval, and number of pairs."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Ablations(Study):
    """A table of variants beside the full algorithm.

    Attributes:
        variants: The first is the full algorithm and names every key that any of them does.
    """

    presets: tuple[str, ...] = ("ablations",)
    networks: tuple[str, ...] = ("mlp",)
    variants: tuple[Variant, ...] = ()
    tables = ("ablations",)

    def __post_init__(self) -> None:
        known = dict(self.variants[0].values)
        for variant in self.variants[1:]:
            unknown = [key for key, _ in variant.values if key not in known]
            if unknown:
                raise ReportError(f"{variant.label}: {unknown} is not among the keys of the first variant")

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table."""
        full = dict(self.variants[0].values)
        frames = corrections_of(runs, tuple(full), network=self.network, setting="reloading")
        parts = {
            variant.label: _measured(frames.select(**{**full, **dict(variant.values)}).samples)
            for variant in self.variants
        }
        whole = parts[self.variants[0].label]
        lines, records = [], []
        for label, part in parts.items():
            differences = _differences(part, whole)
            lines.append([label, *_cells(part, differences)])
            records += [(label, *record) for record in _records(part, differences)]
        about = " ".join(filter(None, self._about(frames, parts)))
        yield self.sheet(
            [],
            warnings(frames.runs),
            [Block("", ["variant", "n", *LABELS.values(), "n, both", *DIFFERENCES.values()], lines)],
            records,
            about=about,
            left_out=_left_out(parts),
        )

    def _about(self, frames: Frames, parts: dict[str, pd.DataFrame]) -> Iterator[str]:
        yield f"{network_label(self.network)}, reloading setting."
        if frames.runs.empty:
            yield "Missing: no run is among the records."
            return
        yield describe_base(frames.runs)
        yield describe_scale(frames.runs.assign(method="bgd_ii"))
        every = sorted(map(int, frames.runs["seed"].unique()))
        found = []
        for label, part in parts.items():
            lacking = [str(seed) for seed in every if seed not in set(part["seed"])]
            if lacking:
                seeds = f"seed{'s' if len(lacking) > 1 else ''} {listing(lacking)}"
                found.append(f"{label} ({'no run' if part.empty else seeds})")
        if found:
            yield f"Missing among the records: {'; '.join(found)}."


def _measured(samples: pd.DataFrame) -> pd.DataFrame:
    """Return a line per pair of seed and sample: what is compared; NaN where it has no meaning."""
    right = corrected(samples)
    values = pd.DataFrame(
        {name: samples[name].to_numpy() for name in ("seed", "index", "steps", "forward_passes")}
    )
    values["POC"] = 100.0 * correct(samples)
    values["corrected"] = right
    for name, of_samples in (
        ("POPA", parameters_altered(samples)),
        ("altered", samples["altered"].to_numpy(dtype=np.float64)),
        ("dTL", training_loss_change(samples)),
        ("dTA", test_accuracy_change(samples)),
    ):
        values[name] = np.where(right, of_samples, np.nan)
    return values


def _differences(part: pd.DataFrame, whole: pd.DataFrame) -> dict[str, Difference]:
    """Return the paired differences by metric; empty for the whole."""
    if part is whole or part.empty or whole.empty:
        return {}
    pairs = part.merge(whole, on=["seed", "index"], suffixes=("", "_whole"))
    found = {}
    for name in DIFFERENCES:
        difference = (pairs[name] - pairs[f"{name}_whole"]).dropna().round(DIGITS)
        if difference.empty:
            continue
        groups = difference.groupby(pairs.loc[difference.index, "index"])
        sums, counts = groups.sum().to_numpy(np.float64), groups.count().to_numpy(np.float64)
        draws: Values = resamples(len(sums), "ablations")
        ends = np.percentile((draws @ sums) / (draws @ counts), (LOW, HIGH))
        mean, low, high = (round(float(value), DIGITS) for value in (difference.mean(), *ends))
        found[name] = Difference(mean, low, high, len(difference))
    return found


def _summary(part: pd.DataFrame, name: str) -> Summary:
    """Return mean (or median) and spread of one of `LABELS`."""
    if name == "POC":
        return summarize(part.groupby("seed")["POC"].mean().to_numpy(np.float64), "seeds")
    chosen = part if name in OF_EVERY_PAIR else part[part["corrected"]]
    values = chosen[name.removesuffix("_median")].to_numpy(np.float64)
    summary = summarize(values, "pairs", NONE_CORRECTED)
    if summary.mean is None or not name.endswith("_median"):
        return summary
    return replace(summary, mean=float(np.median(values[np.isfinite(values)])), sd=None)


def _left_out(parts: dict[str, pd.DataFrame]) -> str:
    """Return how many pairs have no ΔTL because it is not finite, after a space; empty where none has."""
    counts = {label: _summary(part, "dTL").left_out for label, part in parts.items()}
    told = [f"{label} {format_count(count)}" for label, count in counts.items() if count]
    return f" Left out of ΔTL, since it is not finite: {listing(told)}." if told else ""


def _cells(part: pd.DataFrame, differences: dict[str, Difference]) -> list[str]:
    if part.empty:
        return ["missing"] * (2 + len(LABELS) + len(DIFFERENCES))
    cells = [f"{format_count(int(part['corrected'].sum()))} of {format_count(len(part))}"]
    for name in LABELS:
        summary = _summary(part, name)
        cells.append(format_summary(replace(summary, sd=None) if name in OF_EVERY_PAIR else summary))
    both = differences.get("POPA")
    cells.append(format_count(both.n) if both else "")
    for name in DIFFERENCES:
        found = differences.get(name)
        cells.append(bracketed(*map(format_number, found[:3])) if found else "")
    return cells


def _records(part: pd.DataFrame, differences: dict[str, Difference]) -> Iterator[tuple[object, ...]]:
    if part.empty:
        yield ("POC", "missing", None, None, None, 0, "seeds")
        return
    for name in LABELS:
        found = _summary(part, name)
        yield (name, found.told, found.sd, None, None, found.n, found.over)
    for name, (middle, low, high, n) in differences.items():
        yield (f"{name}_difference", middle, None, low, high, n, "pairs")
