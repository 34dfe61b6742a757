"""The idealized subset selector beside BGD and top-k on the same samples: the comparison that motivates BGD.

Section 3.1 argues that Algorithm 1 over all m parameters takes O(K m), K the cost of a forward pass; the thesis does
not measure it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.records.schema import PROBE, Run
from experiments.report.captions import describe_base, describe_scale, warnings_of
from experiments.report.frames import Frames, build_frames, option
from experiments.report.metrics import MISSING, correct, corrected, test_accuracy_change
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Made, Study, words
from experiments.report.scope import Scope
from experiments.report.sheet import Block
from experiments.report.style import method_style, network_label

SELECTOR = "idealized"
METHODS = (SELECTOR, "bgd_ii", "bgd_i", "top_k")
TIMED = "bgd_i"  # whose passes are the most, so that least of its time is anything else
SEED = 0
NOT_SHARED = "no shared samples"
REFERENCE = "bgd_ii"  # the method of both ratios
# Of both blocks: the titles, and the labels by metric.
TITLES, COST, COMMON = (words("idealized_selector")[name] for name in ("titles", "cost", "common"))

Values = dict[str, float]  # of a method; empty where it has none


@dataclass(frozen=True)
class Idealized(Study):
    """A table of Algorithm 1, BGD-II, BGD-I and top-k on the samples that all of them were run on."""

    presets: tuple[str, ...] = ("idealized_selector", "idealized_selector_mlp", "idealized_selector_alexnet")
    tables = ("idealized_selector",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table."""
        runs = [run for run in runs if PROBE not in run.header.spec and run.header.spec["seed"] == SEED]
        frames = build_frames(runs).select(setting="reloading")
        tensors = {
            run.header.spec["network"]["name"]: option(run.header.spec, "method.tensors")
            for run in runs
            if run.header.spec["method"]["name"] == SELECTOR
        }
        costs, commons, records, about = [], [], [], []
        for network in self.networks:
            part = frames.select(network=network)
            shared = _of_all(part.samples)
            lacking = Scope("reloading", self.networks, METHODS).lacking(part.runs)
            about.append(_scale(network, part, shared, lacking))
            for name, values in _methods(shared, tensors.get(network)):
                otherwise = MISSING if name in lacking else NOT_SHARED
                costs.append([network_label(network), name, *_cells(values, COST, otherwise)])
                if "POC" in values or not values:  # an extrapolation corrects nothing
                    commons.append([network_label(network), name, *_cells(values, COMMON, otherwise)])
                for metric in (*COST, *COMMON):
                    records.append((network, name, metric, values.get(metric) if values else otherwise))
        yield self.sheet(
            about,
            warnings_of(frames.runs, "network", {name: network_label(name) for name in self.networks}),
            [
                Block(title, ["network", "method", *labels.values()], lines)
                for title, labels, lines in zip(TITLES, (COST, COMMON), (costs, commons), strict=True)
            ],
            records,
        )


def _of_all(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the samples that every method has a row of; empty where a method is not there."""
    samples = samples[samples["method"].isin(METHODS)]
    count = samples.groupby("index")["method"].transform("nunique")
    return samples[np.asarray(count == len(METHODS), dtype=np.bool_)]


def _common(shared: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the samples that all the methods correct."""
    return _of_all(shared[corrected(shared)])


def _scale(network: str, part: Frames, shared: pd.DataFrame, lacking: Sequence[str]) -> str:
    if lacking:
        return f"{network_label(network)}: missing, no run of {', '.join(lacking)} is among the records."
    start = f"{network_label(network)}: {format_count(shared['index'].nunique())} shared samples."
    return " ".join((start, _comparison(shared), describe_base(part.runs), describe_scale(part.runs)))


def _comparison(shared: pd.DataFrame) -> str:
    """Return how the selector's subset compares with that of BGD-II."""
    common = _common(shared)
    if common.empty:
        return "No sample is corrected by all four."
    subsets = common.pivot(index="index", columns="method", values="altered")
    ours, other = subsets[SELECTOR], subsets[REFERENCE]
    text: str = words("idealized_selector")["comparison"]
    return text.format(
        count=len(subsets),
        below=(ours < other).sum(),
        equal=(ours == other).sum(),
        above=(ours > other).sum(),
        ratio=format_number(float(ours.mean() / other.mean())),
    )


def _methods(shared: pd.DataFrame, tensors: Sequence[str] | None) -> list[tuple[str, Values]]:
    """Return each method's name and values, and the selector's extrapolation where it left tensors out."""
    found: list[tuple[str, Values]] = []
    common = _common(shared)
    for method in METHODS:
        own = shared[shared["method"] == method]
        name = method_style(method).label
        if method == SELECTOR and tensors:
            layer = "last layer alone: " if all(each.startswith("lin3.") for each in tensors) else ""
            name += f", {layer}{', '.join(tensors)}"
        found.append((name, _values(own, common[common["method"] == method])))
        if method == SELECTOR and tensors and len(own):
            found.append(("Idealized selector, whole network, extrapolated", _extrapolated(own, shared)))
    reference = dict(found).get(method_style(REFERENCE).label, {})
    for _, values in found:
        for ratio, of in (("passes_ratio", "passes"), ("subset_ratio", "common_mean")):
            if reference.get(of) and of in values:
                values[ratio] = values[of] / reference[of]
    return found


def _values(own: pd.DataFrame, common: pd.DataFrame) -> Values:
    """Return the figures of a method; `common` has its rows of the samples that all correct."""
    if own.empty:
        return {}
    passes, seconds = float(own["forward_passes"].mean()), float(own["search_seconds"].mean())
    return {
        "POC": float(100 * correct(own).mean()),
        **_sizes("subset", own.loc[corrected(own), "altered"]),
        "passes": passes,
        "seconds": seconds,
        "milliseconds": 1000 * seconds / passes if passes else float("nan"),
        "n": float(len(common)),
        **_sizes("common", common["altered"]),
        "dTA": float(test_accuracy_change(common).mean()) if len(common) else float("nan"),
    }


def _sizes(name: str, altered: "pd.Series[int]") -> Values:
    return {f"{name}_{of}": float(altered.agg(of)) for of in ("mean", "median", "max")}


def _extrapolated(own: pd.DataFrame, shared: pd.DataFrame) -> Values:
    """Return passes and seconds of the selector over every parameter."""
    timed = shared[shared["method"] == TIMED]
    each = float(timed["search_seconds"].sum() / timed["forward_passes"].sum())
    # The steps of a correction are the parameters gone through; the rest of its passes are retraining's.
    retraining = float((own["forward_passes"] - own["steps"])[corrected(own)].mean())
    passes = float(own["parameters"].iloc[0]) + retraining
    return {"passes": passes, "seconds": passes * each, "milliseconds": 1000 * each}


def _cells(values: Values, labels: dict[str, str], otherwise: str) -> list[str]:
    """Return a line's cells; an extrapolation has no subset, a method without samples `otherwise` alone."""
    if not values:
        return [otherwise] * len(labels)
    cells = []
    for name in labels:
        value = values.get(name, float("nan"))
        if not np.isfinite(value):
            cells.append("")
        elif name == "seconds" and value >= 3600:
            cells.append(f"{format_number(round(value / 3600, 1))} h")
        elif name == "passes" and value >= 1000:
            cells.append(format_count(round(value)))
        else:
            cells.append(format_number(value))
    return cells
