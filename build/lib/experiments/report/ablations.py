"""What each part of BGD-II buys: the algorithm with one part changed at a time, sample by sample against the whole."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from experiments.records.schema import PROBE, Run
from experiments.report.captions import describe_base, describe_scale, warnings
from experiments.report.frames import Frames, ReportError, build_frames
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
from experiments.report.sheet import Block, Sheet, bracketed, sheet_names
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


@dataclass(frozen=True)
class Ablations:
    """A table of variants beside the full algorithm.

    Attributes:
        variants: The first is the full algorithm and names every key that any of them does.
        presets: Whose runs.
        network: Of which network.
    """

    variants: tuple[Variant, ...]
    presets: tuple[str, ...] = ("ablations",)
    network: str = "mlp"

    def __post_init__(self) -> None:
        known = dict(self.variants[0].values)
        for variant in self.variants[1:]:
            unknown = [key for key, _ in variant.values if key not in known]
            if unknown:
                raise ReportError(f"{variant.label}: {unknown} is not among the keys of the first variant")

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return sheet_names("ablations")

    @property
    def keys(self) -> tuple[str, ...]:
        """The options in which the variants differ."""
        return tuple(key for key, _ in self.variants[0].values)

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        frames = build_frames([run for run in runs if PROBE not in run.header.spec], self.keys)
        frames = frames.select(network=self.network, setting="reloading")
        parts = [_measured(self._of(variant, frames.samples)) for variant in self.variants]
        lines, records = [], []
        for variant, part in zip(self.variants, parts, strict=True):
            differences = _differences(part, parts[0])
            lines.append([variant.label, *_cells(part, differences)])
            records += [(variant.label, *record) for record in _records(part, differences)]
        sheet = Sheet(
            name="ablations",
            heading="Ablations of BGD-II",
            caption=self._caption(frames, parts),
            warnings=warnings(frames.runs),
            blocks=[Block("", ["variant", "n", *LABELS.values(), "n, both", *DIFFERENCES.values()], lines)],
            columns=("variant", "metric", "mean", "sd", "low", "high", "n", "over"),
            records=records,
        )
        return sheet.files()

    def _of(self, variant: Variant, samples: pd.DataFrame) -> pd.DataFrame:
        """Return the samples of a variant: its own values, the full algorithm's for the rest."""
        wanted = {**dict(self.variants[0].values), **dict(variant.values)}
        keep = np.ones(len(samples), dtype=np.bool_)
        for key, value in wanted.items():
            keep &= np.asarray(samples[key] == value, dtype=np.bool_)
        return samples[keep]

    def _gaps(self, frames: Frames, parts: Sequence[pd.DataFrame]) -> str:
        """Return which variants miss seeds that others have; empty where none does."""
        every = sorted(map(int, frames.runs["seed"].unique()))
        found = []
        for variant, part in zip(self.variants, parts, strict=True):
            absent = [str(seed) for seed in every if seed not in set(part["seed"])]
            if absent and part.empty:
                found.append(f"{variant.label} (no run)")
            elif absent:
                found.append(f"{variant.label} (seed{'s' if len(absent) > 1 else ''} {listing(absent)})")
        return f" Missing among the records: {'; '.join(found)}." if found else ""

    def _caption(self, frames: Frames, parts: Sequence[pd.DataFrame]) -> str:
        about = f"{network_label(self.network)}, reloading setting."
        if frames.runs.empty:
            about += " Missing: no run is among the records."
        else:
            about += f" {describe_base(frames.runs)} {describe_scale(frames.runs.assign(method='bgd_ii'))}"
            about += self._gaps(frames, parts)
        return (
            f"What each part of BGD-II buys: one part changed at a time. {about} POC: mean ± sample standard deviation"
            " (ddof = 1) over seeds. POPA, parameters altered, ΔTL and ΔTA: over the n pairs of seed and sample that"
            " the variant corrected, ± over those pairs; ΔTL is heavy-tailed, so its median stands beside its mean."
            f"{_left_out(self.variants, parts)} Iterations and forward passes: mean over all pairs, uncorrected ones"
            " included. The last three columns: variant less full algorithm, paired by seed and sample (POC over all"
            " pairs that both were run on, POPA and ΔTA over those of them that both corrected), with the 95 %"
            " percentile bootstrap interval over samples (2,000 resamples, the seeds of a sample kept together)."
            " Signs: ΔTA is negative for a loss of accuracy."
        )


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


def _differences(part: pd.DataFrame, whole: pd.DataFrame) -> dict[str, tuple[float, float, float, int]]:
    """Return mean, ends of the interval and number of the paired differences, by metric; empty for the whole."""
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
        low, high = np.percentile((draws @ sums) / (draws @ counts), (LOW, HIGH))
        middle, low, high = (round(float(value), DIGITS) for value in (difference.mean(), low, high))
        found[name] = (middle, low, high, len(difference))
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


def _left_out(variants: Sequence[Variant], parts: Sequence[pd.DataFrame]) -> str:
    """Return how many pairs have no ΔTL because it is not finite; empty where none has."""
    counts = [
        (variant.label, _summary(part, "dTL").left_out) for variant, part in zip(variants, parts, strict=True)
    ]
    told = [f"{label} {format_count(count)}" for label, count in counts if count]
    return f" Left out of ΔTL, since it is not finite: {listing(told)}." if told else ""


def _cells(part: pd.DataFrame, differences: dict[str, tuple[float, float, float, int]]) -> list[str]:
    if part.empty:
        return ["missing"] * (2 + len(LABELS) + len(DIFFERENCES))
    cells = [f"{format_count(int(part['corrected'].sum()))} of {format_count(len(part))}"]
    for name in LABELS:
        summary = _summary(part, name)
        cells.append(format_summary(replace(summary, sd=None) if name in OF_EVERY_PAIR else summary))
    both = differences.get("POPA")
    cells.append(format_count(both[3]) if both else "")
    for name in DIFFERENCES:
        found = differences.get(name)
        cells.append(bracketed(*map(format_number, found[:3])) if found else "")
    return cells


def _records(
    part: pd.DataFrame, differences: dict[str, tuple[float, float, float, int]]
) -> list[tuple[object, ...]]:
    if part.empty:
        return [("POC", "missing", None, None, None, 0, "seeds")]
    records: list[tuple[object, ...]] = []
    for name in LABELS:
        found = _summary(part, name)
        mean = found.note if found.mean is None else found.mean
        records.append((name, mean, found.sd, None, None, found.n, found.over))
    for name, (middle, low, high, n) in differences.items():
        records.append((f"{name}_difference", middle, None, low, high, n, "pairs"))
    return records
