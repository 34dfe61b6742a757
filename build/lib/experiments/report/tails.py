"""What a mean hides: median, percentiles and worst case of a value per corrected sample, as a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from experiments.report.frames import Frames
from experiments.report.metrics import (
    MISSING,
    NO_SAMPLES,
    NONE_CORRECTED,
    NOT_FINITE,
    Summary,
    Values,
    of_population,
    summarize,
)
from experiments.report.numbers import format_count, format_number
from experiments.report.scope import Scope
from experiments.report.sheet import Block, Sheet
from experiments.report.style import method_style, network_label

LOW, HIGH = 5.0, 95.0  # percentiles

Key = tuple[str, str, str]  # network, method, quantity


@dataclass(frozen=True)
class Quantity:
    """A value per corrected sample, and the end of it that does harm.

    Attributes:
        name: In the csv file.
        label: For people, with the unit.
        harm: Which values are the worse ones: "largest" or "smallest".
        values: From samples to a value each; NaN where it is not finite.
    """

    name: str
    label: str
    harm: Literal["largest", "smallest"]
    values: Callable[[pd.DataFrame], Values]


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


def tail(values: Values, harm: str, otherwise: str = NONE_CORRECTED) -> Tail:
    """Return mean and tails of the finite values.

    Args:
        values: One-dimensional.
        harm: Which end is the worst, "largest" or "smallest".
        otherwise: Why `values` is empty, if it is.
    """
    summary = summarize(values, "samples", otherwise)
    if summary.mean is None:
        return Tail(summary)
    finite = values[np.isfinite(values)]
    low, median, high = map(float, np.percentile(finite, (LOW, 50, HIGH)))
    return Tail(summary, median, low, high, float(finite.max() if harm == "largest" else finite.min()))


def values_of(scope: Scope, frames: Frames, quantities: Sequence[Quantity]) -> dict[Key, Values | str]:
    """Return each quantity over the corrected samples, seeds pooled, or in words why there is none."""
    found: dict[Key, Values | str] = {}
    for network in scope.networks:
        for method in scope.methods:
            part = frames.select(network=network, method=method)
            chosen = of_population(part.samples)
            note = MISSING if part.runs.empty else NONE_CORRECTED if len(part.samples) else NO_SAMPLES
            for quantity in quantities:
                key = (network, method, quantity.name)
                found[key] = quantity.values(chosen) if len(chosen) else note
    return found


def tails_of(values: Mapping[Key, Values | str], quantities: Sequence[Quantity]) -> dict[Key, Tail]:
    """Return the tails of what `values_of` found."""
    harm = {quantity.name: quantity.harm for quantity in quantities}
    empty = np.empty(0, dtype=np.float64)
    return {
        key: tail(empty, harm[key[2]], item) if isinstance(item, str) else tail(item, harm[key[2]])
        for key, item in values.items()
    }


COLUMNS = (
    *("network", "method", "quantity", "mean", "sd", "median", "p5", "p95", "worst"),
    *("worst_end", "n", "not_finite"),
)
_HEADER = ("network", "method", "n", "mean", "sd", "median", "5th percentile", "95th percentile", "worst")
MEANING = (
    "Over the corrected samples of all seeds, each pair of sample and seed once; n counts them. sd: sample standard"
    " deviation (ddof = 1) over the same pairs, not an error of the mean. Percentiles are over the pairs too, and"
    " the worst case is the single most harmful pair, at the end that the table names."
)


def sheet(
    name: str,
    heading: str,
    texts: Sequence[str],
    warnings: Sequence[str],
    quantities: Sequence[Quantity],
    tails: Mapping[Key, Tail],
) -> Sheet:
    """Return a table with a block per quantity.

    Args:
        name: Of the files.
        heading: What the caption begins with.
        texts: The caption's sentences.
        warnings: What must not be overlooked.
        quantities: A block each, in this order.
        tails: From `tails_of`.
    """
    blocks = [
        Block(
            f"{quantity.label}; worst: the {quantity.harm}.",
            _HEADER,
            [_line(key, item) for key, item in tails.items() if key[2] == quantity.name],
        )
        for quantity in quantities
    ]
    harm = {quantity.name: quantity.harm for quantity in quantities}
    gaps = _left_out(quantities, tails)
    return Sheet(
        name=name,
        heading=heading,
        caption=" ".join(text for text in (*texts, gaps) if text),
        warnings=warnings,
        blocks=blocks,
        columns=COLUMNS,
        records=[_record(key, item, harm[key[2]]) for key, item in tails.items()],
    )


def _line(key: Key, item: Tail) -> list[str]:
    summary = item.summary
    top = [network_label(key[0]), method_style(key[1]).label, format_count(summary.n)]
    if summary.mean is None:
        return [*top, *[summary.note] * (len(_HEADER) - len(top))]
    numbers = (summary.mean, summary.sd, item.median, item.low, item.high)
    cells = ["" if value is None else format_number(value) for value in numbers]
    worst = format_number(item.worst or 0.0) if item.worst_is_finite else NOT_FINITE
    return [*top, *cells, worst]


def _record(key: Key, item: Tail, harm: str) -> tuple[object, ...]:
    summary = item.summary
    mean: object = summary.note if summary.mean is None else summary.mean
    worst: object = item.worst if item.worst_is_finite else NOT_FINITE
    numbers = (summary.sd, item.median, item.low, item.high)
    return (*key, mean, *numbers, worst, harm, summary.n, summary.left_out)


def _left_out(quantities: Sequence[Quantity], tails: Mapping[Key, Tail]) -> str:
    labels = {quantity.name: quantity.label for quantity in quantities}
    counts = [
        f"{format_count(item.summary.left_out)} of {labels[name]}"
        f" ({method_style(method).label}, {network_label(network)})"
        for (network, method, name), item in tails.items()
        if item.summary.left_out
    ]
    if not counts:
        return ""
    return f"Not finite, and in neither n, mean nor percentiles: {', '.join(counts)}."
