"""What a mean hides: median, percentiles and worst case of a value per corrected sample."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from experiments.records.schema import Run
from experiments.report.frames import Frames
from experiments.report.metrics import (
    NONE_CORRECTED,
    NOT_FINITE,
    Metric,
    Summary,
    Values,
    over_corrected,
    summarize,
)
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Made, Study, words
from experiments.report.scope import EVERY_METHOD, Scope
from experiments.report.sheet import Block
from experiments.report.style import method_style, network_label

LOW, HIGH = 5.0, 95.0  # percentiles

Key = tuple[str, str, str]  # network, method, quantity


@dataclass(frozen=True)
class Tail:
    """Mean and tails of a value over samples.

    Attributes:
        summary: Mean, spread and how many values; its note says why there are none.
        median, low, high: Percentiles 50, 5 and 95 of the finite values, linear between two neighbours
            (Hyndman and Fan 1996, type 7); None where there is no value.
        worst: The most harmful of the finite values.
    """

    summary: Summary
    median: float | None = None
    low: float | None = None
    high: float | None = None
    worst: float | None = None

    @property
    def worst_is_finite(self) -> bool:
        """Whether the worst case is a number: a value that is not finite is worse than any that is."""
        return self.summary.left_out == 0

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """Spread, median and percentiles."""
        return (self.summary.sd, self.median, self.low, self.high)


def tail(values: Values, harm: str, otherwise: str = NONE_CORRECTED) -> Tail:
    """Return mean and tails of the finite values; the worst is their "largest" or "smallest", as `harm` says."""
    summary = summarize(values, "samples", otherwise)
    if summary.mean is None:
        return Tail(summary)
    low, median, high = map(float, np.percentile(values[np.isfinite(values)], (LOW, 50, HIGH)))
    return Tail(summary, median, low, high, summary.high if harm == "largest" else summary.low)


def values_of(scope: Scope, frames: Frames, quantities: Sequence[Metric]) -> dict[Key, Values | str]:
    """Return each quantity over the corrected samples, seeds pooled, or in words why there is none."""
    found: dict[Key, Values | str] = {}
    for network, method in product(scope.networks, scope.methods):
        part = frames.select(network=network, method=method)
        for quantity in quantities:
            values = over_corrected(part.runs, part.samples, quantity.values)
            found[network, method, quantity.name] = values
    return found


def tails_of(values: Mapping[Key, Values | str], quantities: Sequence[Metric]) -> dict[Key, Tail]:
    """Return the tails of what `values_of` found."""
    harm = {quantity.name: quantity.harm for quantity in quantities}
    return {
        key: tail(np.empty(0), harm[key[2]], item) if isinstance(item, str) else tail(item, harm[key[2]])
        for key, item in values.items()
    }


@dataclass(frozen=True)
class Tails(Study):
    """A table and a figure of median, percentiles and worst case beside each mean of the reloading setting.

    The table has a block for each of `quantities`, the figure shows `drawn` in `panels` from the top.
    """

    presets: tuple[str, ...] = ("every_method",)
    methods: tuple[str, ...] = EVERY_METHOD
    quantities: ClassVar[tuple[Metric, ...]]

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table."""
        scope = Scope("reloading", self.networks, self.methods, self.thesis)
        frames = scope.frames(runs)
        tails = tails_of(values_of(scope, frames, self.quantities), self.quantities)
        more, harm = self.about(frames), {quantity.name: quantity.harm for quantity in self.quantities}
        yield self.sheet(
            [words("tails")["meaning"], *scope.caption(frames), *more, _left_out(self.quantities, tails)],
            scope.warnings(frames),
            [_block(quantity, tails) for quantity in self.quantities],
            [_record(key, item, harm[key[2]]) for key, item in tails.items()],
        )

    def about(self, frames: Frames) -> list[str]:
        """Say what else a reader must know."""
        return []


def _block(quantity: Metric, tails: Mapping[Key, Tail]) -> Block:
    lines = [_line(key, item) for key, item in tails.items() if key[2] == quantity.name]
    return Block(f"{quantity.label}; worst: the {quantity.harm}.", words("tails")["header"], lines)


def _line(key: Key, item: Tail) -> list[str]:
    summary = item.summary
    top = [network_label(key[0]), method_style(key[1]).label, format_count(summary.n)]
    if summary.mean is None:
        return [*top, *[summary.note] * 6]
    cells = ["" if value is None else format_number(value) for value in (summary.mean, *item.numbers)]
    return [*top, *cells, format_number(item.worst or 0.0) if item.worst_is_finite else NOT_FINITE]


def _record(key: Key, item: Tail, harm: str) -> tuple[object, ...]:
    worst = item.worst if item.worst_is_finite else NOT_FINITE
    return (*key, item.summary.told, *item.numbers, worst, harm, item.summary.n, item.summary.left_out)


def _left_out(quantities: Sequence[Metric], tails: Mapping[Key, Tail]) -> str:
    labels = {quantity.name: quantity.label for quantity in quantities}
    counts = [
        f"{format_count(item.summary.left_out)} of {labels[name]}"
        f" ({method_style(method).label}, {network_label(network)})"
        for (network, method, name), item in tails.items()
        if item.summary.left_out
    ]
    return f"Not finite, and in neither n, mean nor percentiles: {', '.join(counts)}." if counts else ""
