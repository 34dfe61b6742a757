"""What each part of BGD-II buys: the algorithm with one part changed at a time, sample by sample against the whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from experiments.records.schema import Run
from experiments.report.captions import describe_base, describe_scale, warnings
from experiments.report.frames import Frames, ReportError, corrections_of
from experiments.report.metrics import (
    METRICS,
    MISSING,
    NONE_CORRECTED,
    Summary,
    correct,
    corrected,
    summarize,
)
from experiments.report.numbers import format_count, format_summary, listing
from experiments.report.part import Made, Study, words
from experiments.report.sheet import Block
from experiments.report.style import network_label
from experiments.report.surveys import Estimate, estimate

LABELS, DIFFERENCES = (words("ablations")[key] for key in ("labels", "differences"))  # by metric
OF_EVERY_PAIR = ("steps", "forward_passes")  # uncorrected ones included
DIGITS = 12  # decimals of a difference: the rest is what a subtraction leaves behind


@dataclass(frozen=True)
class Variant:
    """The algorithm with some options at other values, by dotted key of `Header.spec`; the first one has all keys."""

    label: str
    values: tuple[tuple[str, object], ...]


@dataclass(frozen=True)
class Ablations(Study):
    """A table of variants beside the first, the full algorithm, which names every key that any of them does."""

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
        lines: list[list[str]] = []
        records: list[tuple[object, ...]] = []
        for label, part in parts.items():
            if part.empty:
                lines.append([label, *[MISSING] * (2 + len(LABELS) + len(DIFFERENCES))])
                records.append((label, "POC", MISSING, None, None, None, 0, "seeds"))
                continue
            found = {name: _summary(part, name) for name in LABELS}
            differences = _differences(part, whole)
            lines.append([label, *_cells(part, found, differences)])
            for name, one in found.items():
                records.append((label, name, one.told, one.sd, None, None, one.n, one.over))
            for name, mean in differences.items():
                records.append(
                    (label, f"{name}_difference", mean.mean, None, *mean.ends[1:], mean.n, "pairs")
                )
        yield self.sheet(
            [],
            warnings(frames.runs),
            [Block("", ["variant", "n", *LABELS.values(), "n, both", *DIFFERENCES.values()], lines)],
            records,
            about=" ".join(self._about(frames, parts)),
            left_out=_left_out(parts),
        )

    def _about(self, frames: Frames, parts: dict[str, pd.DataFrame]) -> Iterator[str]:
        yield f"{network_label(self.network)}, reloading setting."
        if frames.runs.empty:
            yield "Missing: no run is among the records."
            return
        yield describe_base(frames.runs)
        yield describe_scale(frames.runs.assign(method="bgd_ii"))
        found = []
        for label, part in parts.items():
            lacking = sorted({*frames.runs["seed"]} - {*part["seed"]})
            if lacking:
                seeds = f"seed{'s' if len(lacking) > 1 else ''} {listing([str(seed) for seed in lacking])}"
                found.append(f"{label} ({'no run' if part.empty else seeds})")
        if found:
            yield f"Missing among the records: {'; '.join(found)}."


def _measured(samples: pd.DataFrame) -> pd.DataFrame:
    """Return a line per pair of seed and sample: what is compared; NaN where it has no meaning."""
    right = corrected(samples)
    values = samples[["seed", "index", *OF_EVERY_PAIR]].assign(POC=100.0 * correct(samples), corrected=right)
    altered = samples["altered"].to_numpy(dtype=np.float64)
    others = {name: METRICS[name].values(samples) for name in ("POPA", "dTL", "dTA")} | {"altered": altered}
    return values.assign(**{name: np.where(right, each, np.nan) for name, each in others.items()})


def _differences(part: pd.DataFrame, whole: pd.DataFrame) -> dict[str, Estimate]:
    """Return the paired differences by metric; empty for the whole."""
    if part is whole or whole.empty:
        return {}
    pairs = part.merge(whole, on=["seed", "index"], suffixes=("", "_whole"))
    found = {}
    for name in DIFFERENCES:
        difference = (pairs[name] - pairs[f"{name}_whole"]).dropna().round(DIGITS)
        if len(difference):
            one = estimate(difference, pairs.loc[difference.index, "index"], "ablations")
            mean, low, high = (round(value, DIGITS) for value in one.ends)
            found[name] = Estimate(mean, low, high, one.n)
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


def _cells(part: pd.DataFrame, found: dict[str, Summary], differences: dict[str, Estimate]) -> list[str]:
    both = differences.get("POPA")
    return [
        f"{format_count(int(part['corrected'].sum()))} of {format_count(len(part))}",
        *(
            format_summary(replace(one, sd=None) if name in OF_EVERY_PAIR else one)
            for name, one in found.items()
        ),
        format_count(both.n) if both else "",
        *(differences[name].text if name in differences else "" for name in DIFFERENCES),
    ]
