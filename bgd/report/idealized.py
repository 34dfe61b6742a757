"""The idealized subset selector beside BGD and top-k on the same samples: the comparison that motivates BGD.

Section 3.1 argues that Algorithm 1 over all m parameters takes O(K m), K the cost of a forward pass; the thesis does
not measure it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bgd.metrics import correct, corrected, test_accuracy_change
from bgd.records import PROBE, Run
from bgd.report.captions import describe_base, describe_scale, warnings
from bgd.report.frames import Frames, build_frames, option
from bgd.report.numbers import format_count, format_number
from bgd.report.sheet import Block, Sheet, sheet_names
from bgd.report.style import method_style, network_label

SELECTOR = "idealized"
METHODS = (SELECTOR, "bgd_ii", "bgd_i", "top_k")
TIMED = "bgd_i"  # whose passes are the most, so that least of its time is anything else
LABELS = {
    "POC": "POC (%)",
    "subset_mean": "subset, mean",
    "subset_median": "median",
    "subset_max": "largest",
    "passes": "forward passes",
    "seconds": "seconds",
    "dTA": "ΔTA",
}


@dataclass(frozen=True)
class Idealized:
    """A table of Algorithm 1, BGD-II, BGD-I and top-k on the samples that all of them were run on.

    Attributes:
        presets: Whose runs.
        networks: Their order.
    """

    presets: tuple[str, ...] = ("idealized_selector", "idealized_selector_mlp", "idealized_selector_alexnet")
    networks: tuple[str, ...] = ("alexnet", "mlp")

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return sheet_names("idealized_selector")

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `bgd.report.part.Part`."""
        runs = [run for run in runs if PROBE not in run.header.spec]
        frames = build_frames(runs)
        tensors = {
            run.header.spec["network"]["name"]: option(run.header.spec, "method.tensors")
            for run in runs
            if run.header.spec["method"]["name"] == SELECTOR
        }
        lines, records, about, loud = [], [], [], []
        for network in self.networks:
            part = frames.select(network=network, setting="reloading")
            shared = _shared(part)
            about.append(_scale(network, part, shared))
            loud += [f"{network_label(network)}: {text}" for text in warnings(part.runs)]
            for name, values in _methods(shared, tensors.get(network)):
                lines.append([network_label(network), name, *_cells(values)])
                records += [(network, name, metric, values.get(metric)) for metric in LABELS]
        header = ["network", "method", *LABELS.values()]
        sheet = Sheet(
            name="idealized_selector",
            heading="Algorithm 1 in full",
            caption=" ".join([_MEANING, *about]),
            warnings=loud,
            blocks=[Block("", header, lines)],
            columns=("network", "method", "metric", "value"),
            records=records,
        )
        return sheet.files()


_MEANING = (
    "The approximate idealized subset selector (Algorithm 1, section 3.1) over every parameter of a network"
    " retrained on the sample, beside BGD and top-k on the same samples: the comparison that motivates BGD,"
    " which the thesis does not print. Subset: parameters altered, over the samples that the method corrects."
    " ΔTA: mean over the samples that all four correct. Forward passes (of the one sample) and seconds of"
    " search: means over the shared samples; seconds are wall time on one thread of a shared machine. The"
    " selector's forward passes are those of the printed algorithm, one for each parameter; its seconds are"
    " those of an implementation that guesses many restorations at once and checks them, so they are far below"
    " passes times the cost of a pass. Extrapolated: one pass for each of the network's parameters and those of"
    " retraining, at what a pass took within BGD-I on that network."
)


def _shared(part: Frames) -> pd.DataFrame:
    """Return the rows of the samples that every method was run on; empty where a method is not there."""
    samples = part.samples[part.samples["method"].isin(METHODS)]
    count = samples.groupby("index")["method"].transform("nunique")
    return samples[np.asarray(count == len(METHODS), dtype=np.bool_)]


def _scale(network: str, part: Frames, shared: pd.DataFrame) -> str:
    label = network_label(network)
    absent = [method_style(name).label for name in METHODS if name not in set(part.runs["method"])]
    if absent:
        return f"{label}: missing, no run of {', '.join(absent)} is among the records."
    base, scale = describe_base(part.runs), describe_scale(part.runs)
    return f"{label}: {format_count(shared['index'].nunique())} shared samples. {base} {scale}"


def _methods(shared: pd.DataFrame, tensors: Sequence[str] | None) -> list[tuple[str, dict[str, float]]]:
    """Return each method's name and values, and the selector's extrapolation where it left tensors out."""
    found: list[tuple[str, dict[str, float]]] = []
    right = shared[corrected(shared)]
    by_all = right.groupby("index")["method"].nunique()
    common = set(by_all[by_all == len(METHODS)].index)
    for method in METHODS:
        own = shared[shared["method"] == method]
        name = method_style(method).label
        if method == SELECTOR and tensors:
            name += f", of {', '.join(tensors)} alone"
        found.append((name, _values(own, common)))
        if method == SELECTOR and tensors and len(own):
            found.append(("Idealized selector, whole network, extrapolated", _extrapolated(own, shared)))
    return found


def _values(own: pd.DataFrame, common: set[int]) -> dict[str, float]:
    if own.empty:
        return {}
    subset = own.loc[corrected(own), "altered"]
    both = own[np.asarray(own["index"].isin(common), dtype=np.bool_)]
    return {
        "POC": float(100 * correct(own).mean()),
        "subset_mean": float(subset.mean()),
        "subset_median": float(subset.median()),
        "subset_max": float(subset.max()),
        "passes": float(own["forward_passes"].mean()),
        "seconds": float(own["search_seconds"].mean()),
        "dTA": float(test_accuracy_change(both).mean()) if len(both) else float("nan"),
    }


def _extrapolated(own: pd.DataFrame, shared: pd.DataFrame) -> dict[str, float]:
    """Return passes and seconds of the selector over every parameter."""
    timed = shared[shared["method"] == TIMED]
    each = float(timed["search_seconds"].sum() / timed["forward_passes"].sum())
    # The steps of a correction are the parameters gone through; the rest of its passes are retraining's.
    retraining = float((own["forward_passes"] - own["steps"])[corrected(own)].mean())
    passes = float(own["parameters"].iloc[0]) + retraining
    return {"passes": passes, "seconds": passes * each}


def _cells(values: dict[str, float]) -> list[str]:
    """Return a line's cells; an extrapolation has no subset, a method without runs nothing."""
    if not values:
        return ["missing"] * len(LABELS)
    cells = []
    for name in LABELS:
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
