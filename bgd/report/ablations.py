"""What each part of BGD-II buys: the algorithm with one part changed at a time, sample by sample against the whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bgd.metrics import correct, corrected, parameters_altered, test_accuracy_change, training_loss_change
from bgd.records import PROBE, Run
from bgd.report.captions import describe_base, describe_scale, warnings
from bgd.report.frames import Frames, ReportError, build_frames
from bgd.report.numbers import format_count, format_number, format_spread
from bgd.report.sheet import Block, Sheet, bracketed, sheet_names
from bgd.report.style import network_label
from bgd.report.surveys import HIGH, LOW, Values, resamples

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
DIFFERENCES = {"POC": "ΔPOC (points)", "POPA": "ΔPOPA (%)", "dTA": "ΔΔTA"}


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
        """Return the content of each file; see `bgd.report.part.Part`."""
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
            caption=self._caption(frames),
            warnings=warnings(frames.runs),
            blocks=[Block("", ["variant", "n", *LABELS.values(), *DIFFERENCES.values()], lines)],
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

    def _caption(self, frames: Frames) -> str:
        about = f"{network_label(self.network)}, reloading setting."
        if frames.runs.empty:
            about += " Missing: no run is among the records."
        else:
            about += f" {describe_base(frames.runs)} {describe_scale(frames.runs.assign(method='bgd_ii'))}"
        return (
            f"What each part of BGD-II buys: one part changed at a time. {about} POC: mean ± sample standard deviation"
            " (ddof = 1) over seeds. POPA, parameters altered, ΔTL and ΔTA: over the n pairs of seed and sample that"
            " the variant corrected, ± over those pairs; ΔTL is heavy-tailed, so its median stands beside its mean."
            " Iterations and forward passes: mean over all pairs, uncorrected ones included. The last three columns:"
            " variant less full algorithm, paired by seed and sample (POC over all pairs, the rest over those that both"
            " corrected), with the 95 % percentile bootstrap interval over samples (2,000 resamples,"
            " the seeds of a sample kept together). Signs: ΔTA is negative for a loss of accuracy."
        )


def _measured(samples: pd.DataFrame) -> pd.DataFrame:
    """Return a line per pair of seed and sample: what is compared; NaN where it has no meaning."""
    right = corrected(samples)
    values = pd.DataFrame(
        {name: samples[name].to_numpy() for name in ("seed", "index", "steps", "forward_passes")}
    )
    values["POC"] = 100.0 * correct(samples)
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
        difference = (pairs[name] - pairs[f"{name}_whole"]).dropna()
        if difference.empty:
            continue
        groups = difference.groupby(pairs.loc[difference.index, "index"])
        sums, counts = groups.sum().to_numpy(np.float64), groups.count().to_numpy(np.float64)
        draws: Values = resamples(len(sums), "ablations")
        low, high = np.percentile((draws @ sums) / (draws @ counts), (LOW, HIGH))
        found[name] = (float(difference.mean()), float(low), float(high), len(difference))
    return found


def _poc(part: pd.DataFrame) -> tuple[float, float | None]:
    """Return mean and sd over seeds of POC."""
    seeds = part.groupby("seed")["POC"].mean()
    return float(seeds.mean()), float(seeds.std()) if len(seeds) > 1 else None


def _cells(part: pd.DataFrame, differences: dict[str, tuple[float, float, float, int]]) -> list[str]:
    if part.empty:
        return ["missing"] * (1 + len(LABELS) + len(DIFFERENCES))
    cells = [format_count(int(part["POPA"].count())), format_spread(*_poc(part))]
    for name in list(LABELS)[1:]:
        values = part[name.removesuffix("_median")].dropna()
        values = values[np.isfinite(values)]
        if values.empty:
            cells.append("none corrected")
        elif name.endswith("_median"):
            cells.append(format_number(float(values.median())))
        elif name in ("steps", "forward_passes"):
            cells.append(format_number(float(values.mean())))
        else:
            cells.append(
                format_spread(float(values.mean()), float(values.std()) if len(values) > 1 else None)
            )
    for name in DIFFERENCES:
        found = differences.get(name)
        cells.append(bracketed(*map(format_number, found[:3])) if found else "")
    return cells


def _records(
    part: pd.DataFrame, differences: dict[str, tuple[float, float, float, int]]
) -> list[tuple[object, ...]]:
    if part.empty:
        return [("POC", "missing", None, None, None, 0, "seeds")]
    mean, sd = _poc(part)
    records: list[tuple[object, ...]] = [("POC", mean, sd, None, None, part["seed"].nunique(), "seeds")]
    for name in list(LABELS)[1:]:
        values = part[name.removesuffix("_median")].dropna()
        values = values[np.isfinite(values)]
        median = name.endswith("_median")
        middle = values.median() if median else values.mean()
        records.append(
            (name, float(middle), None if median else float(values.std()), None, None, len(values), "pairs")
        )
    for name, (middle, low, high, n) in differences.items():
        records.append((f"{name}_difference", middle, None, low, high, n, "pairs"))
    return records
