"""What other N0 do to the results: a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.records.schema import Run
from experiments.report.captions import describe_base, describe_scale_briefly, warnings
from experiments.report.frames import Frames
from experiments.report.knowledge import Knowledge, describe_knowledge
from experiments.report.metrics import METRICS, MISSING, Summary
from experiments.report.numbers import format_count, format_printed, format_summary, listing
from experiments.report.sheet import Block, Sheet, sheet_names
from experiments.report.style import method_style, network_label, setting_label
from experiments.report.variation import (
    NON_RELOADING,
    SEED,
    THESIS,
    Printed,
    across,
    by_run,
    corrections_of,
    gaps,
    left_out,
    pick,
    printed,
)

BASE_METRICS = ("POC", "POPA", "dTL", "dTA")
EVERY_METHOD = (*NON_RELOADING, "bgd_norm", "random")


@dataclass(frozen=True)
class BaseNetworks:
    """The metrics of the reloading setting, N0 by N0.

    Attributes:
        reference: As in `Orders`.
        presets: Whose runs.
        network, methods: Which of them.
        network_seeds: Of the N0 that the preset asks for; a run with another one is not looked at.
        tables: Of the thesis; the first that prints a value stands beside ours.
        thesis_errors: How many test images the thesis' N0 gets wrong.
        knowledge: The level of each method, for the caption.
    """

    reference: pd.DataFrame | Path
    presets: tuple[str, ...] = ("base_networks",)
    network: str = "mlp"
    methods: tuple[str, ...] = EVERY_METHOD
    network_seeds: tuple[int, ...] = (0, 1, 2)
    tables: tuple[str, ...] = ("4.2", "4.4", "4.6", "4.12")
    thesis_errors: int | None = None
    knowledge: Knowledge = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return sheet_names("base_networks")

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        about: dict[str, Sequence[object]] = {
            "network": (self.network,),
            "setting": ("reloading",),
            "order": (0,),
        }
        every = corrections_of(runs, **about, method=self.methods, network_seed=self.network_seeds)
        frames = pick(every, seed=(SEED,))
        found = {
            (metric, method): by_run(frames, method, metric, "network_seed")
            for metric in BASE_METRICS
            for method in self.methods
        }
        return self._sheet(frames, found, more_seeds=len(every.runs) > len(frames.runs)).files()

    def _sheet(
        self, frames: Frames, found: dict[tuple[str, str], dict[int, Summary]], more_seeds: bool
    ) -> Sheet:
        counts = frames.runs.groupby("network_seed")["errors"].first()
        errors = dict(zip(counts.index.tolist(), counts.tolist(), strict=True))
        heads = [
            f"N0 {seed} ({format_count(errors[seed])} errors)" if seed in errors else f"N0 {seed} ({MISSING})"
            for seed in self.network_seeds
        ]
        thesis = printed(self.reference, self.tables, self.network)
        lines, records = [], []
        for (metric, method), own in found.items():
            theirs = thesis.get((metric, method))
            lines.append(_base_line(metric, method, [own.get(seed) for seed in self.network_seeds], theirs))
            records += _base_records(
                metric, method, {seed: own.get(seed) for seed in self.network_seeds}, errors
            )
            records.append(
                (*_base_record(metric, method, "all", None, across(own, "networks")), *(theirs or _NONE))
            )
        return Sheet(
            name="base_networks",
            heading="Other N0",
            caption=self._caption(frames, found, more_seeds),
            warnings=[
                f"N0 {seed}: {text}"
                for seed in self.network_seeds
                for text in warnings(frames.runs[frames.runs["network_seed"] == seed])
            ],
            blocks=[Block("", ["metric", "method", *heads, "mean ± sd over N0", "thesis"], lines)],
            columns=_BASE_COLUMNS,
            records=records,
        )

    def _caption(
        self, frames: Frames, found: dict[tuple[str, str], dict[int, Summary]], more_seeds: bool
    ) -> str:
        place = f"{network_label(self.network)}, {setting_label('reloading')} setting"
        if frames.runs.empty:
            about = [f"{place}: missing, no run of other N0 is among the records."]
        else:
            size = describe_scale_briefly(frames.runs)
            base = describe_base(frames.runs, self.thesis_errors)
            missing = gaps(frames, self.methods, "network_seed", self.network_seeds, "N0")
            about = [f"{place}, {size}.", base, missing]
        parts = [
            "The metrics of the thesis from N0 trained with other seeds.",
            *about,
            f"Of the runs' seeds only {SEED} is used here." if more_seeds else "",
            "N0's columns: POC over its samples, the other metrics' means over those that the method corrected. Last"
            " column of ours: mean ± sample standard deviation (ddof = 1) of these means over N0; none stands where"
            f" there is one. The thesis' values: from the first of its tables {listing(list(self.tables))} that prints"
            " one; table 4.4 is over the samples that its methods all corrected, and the thesis does not say what its"
            " ± is over. ΔTA is signed here, negative for a loss of accuracy; the thesis prints |ΔTA|.",
            describe_knowledge(self.methods, self.knowledge),
            left_out(found, "Samples"),
        ]
        return " ".join(part for part in parts if part)


_NONE = (None, None)
_BASE_COLUMNS = (
    *("metric", "method", "network_seed", "errors", "mean", "sd", "n", "sd_over", "left_out"),
    *THESIS,
)


def _base_line(metric: str, method: str, own: Sequence[Summary | None], thesis: Printed | None) -> list[str]:
    found = {place: item for place, item in enumerate(own) if item is not None}
    cells = [MISSING if item is None else _mean_text(item) for item in own]
    theirs = "" if thesis is None else format_printed(*thesis)
    label = method_style(method).label
    return [METRICS[metric].label, label, *cells, format_summary(across(found, "networks")), theirs]


def _mean_text(summary: Summary) -> str:
    return format_summary(Summary(summary.mean, None, summary.n, summary.over, note=summary.note))


def _base_records(
    metric: str, method: str, own: dict[int, Summary | None], errors: dict[int, int]
) -> list[tuple[object, ...]]:
    absent = Summary(None, None, 0, METRICS[metric].over, note=MISSING)
    return [
        (*_base_record(metric, method, seed, errors.get(seed), item or absent), *_NONE)
        for seed, item in own.items()
    ]


def _base_record(
    metric: str, method: str, seed: int | str, errors: int | None, item: Summary
) -> tuple[object, ...]:
    mean = item.note if item.mean is None else item.mean
    return (metric, method, seed, errors, mean, item.sd, item.n, item.over, item.left_out)
