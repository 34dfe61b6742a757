"""How the estimated change in training loss is distributed over the weights: figure 4.3 of the thesis.

Section 4.6.2. The estimate has two forms: |Gbar_j (-1 / g_j)| as printed, |Gbar_j g_j| in the released code.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import Run
from experiments.report import surveys
from experiments.report.canvas import Picture, blank, grid
from experiments.report.frames import ReportError
from experiments.report.metrics import MISSING
from experiments.report.numbers import format_number
from experiments.report.part import Made, Study, words
from experiments.report.sheet import Block, bracketed, percent
from experiments.report.style import DOUBLE_COLUMN, METHODS, network_label
from experiments.report.surveys import Values

PROBE_NAME = "loss_change"
FORMS = {"second_order_step": "|Ḡ / g|, as printed (Eq. 4.6.2)", "gradient_product": "|Ḡ g|, released code"}
MARKS = (95, 98)  # percentiles: the thesis' threshold and the released default
QUANTITIES = (*(f"percentile_{mark}" for mark in MARKS), "zero_share", "rising_share")
QUARTILES = (25, 50, 75)
NOTHING: tuple[object, ...] = (MISSING, None, None, None, 0)  # in the csv file, of a network without a run
BINS_PER_DECADE = 4
HEADROOM = 1.35  # of the highest bin: above it stand the texts
TAIL = 0.0005  # of the weights that are not at 0, left out at either end of an axis: float32 has 80 decades
COLOUR = METHODS["bgd_c"].colour  # BGD-C is what the estimate is for
MARK_LINES: dict[int, Any] = {
    95: {"color": METHODS["retrain"].colour, "linestyle": "-"},
    98: {"color": METHODS["fine_tune"].colour, "linestyle": (0, (4, 1.5))},
}


@dataclass(frozen=True)
class Distribution:
    """One form of the estimate over the weights, sample by sample.

    Attributes:
        exponents: (bins,): k of the bin [10^(k/4), 10^((k+1)/4)), without gaps; empty where all is 0.
        shares: (samples, bins): share of the weights in each bin.
        zero: (samples,): share of the weights whose estimate is exactly 0.
        rising: (samples,): share of the weights whose update would raise the training loss (first order).
        percentiles: (samples, 2): the estimates at `MARKS`.
    """

    exponents: Values
    shares: Values
    zero: Values
    rising: Values
    percentiles: Values

    @property
    def quantities(self) -> dict[str, Values]:
        """What the table has: a value per sample, by name."""
        marks = zip(QUANTITIES, self.percentiles.T, strict=False)
        return {**dict(marks), "zero_share": self.zero, "rising_share": self.rising}


def distribution(run: Run, form: str) -> Distribution:
    """Return one form's distribution of a run of the probe `loss_change`.

    Raises:
        ReportError: The probe looked at other percentiles than `MARKS`.
    """
    if tuple(run.header.spec["probe"].get("percentiles", MARKS)) != MARKS:
        raise ReportError(f"{run.header.run_id}: percentiles other than {MARKS}")
    values = [item.values for item in surveys.measurements(run)]
    every = {k for item in values for k in item[f"{form}.exponent"]}
    exponents = np.arange(min(every), max(every) + 1) if every else np.empty(0, dtype=np.int64)
    counts = np.zeros((len(values), exponents.size))
    for line, item in enumerate(values):
        places = np.asarray(item[f"{form}.exponent"], dtype=np.int64)
        counts[line, places - (exponents[0] if exponents.size else 0)] = item[f"{form}.count"]
    zero, rising = (np.array([item[f"{form}.{name}"][0] for item in values]) for name in ("zero", "rising"))
    weights = counts.sum(axis=1) + zero
    marks = np.array([item[f"{form}.percentiles"] for item in values], dtype=np.float64)
    shares = counts / weights[:, None]
    return Distribution(exponents.astype(np.float64), shares, zero / weights, rising / weights, marks)


Parts = Mapping[tuple[str, str], Distribution | None]  # by network and form


@dataclass(frozen=True)
class LossChangePart(Study):
    """Figure 4.3 and a table of its percentiles."""

    presets: tuple[str, ...] = ("figure_4_3",)
    tables = ("loss_change",)
    figures = ("figure_4_3",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure.

        Raises:
            ReportError: Two runs of a network, or percentiles other than `MARKS`.
        """
        found = surveys.by_network(runs, PROBE_NAME)
        parts, lines, records = {}, [], []
        for network, form in product(self.networks, FORMS):
            part = distribution(found[network], form) if network in found else None
            parts[network, form] = part
            cells = [str(part.zero.size) if part else MISSING]
            for name in QUANTITIES:
                text, numbers = _quartiles(name, part.quantities[name]) if part else (MISSING, NOTHING)
                cells.append(text)
                records.append((network, form, name, *numbers))
            lines.append([network_label(network), FORMS[form], *cells])
        yield self.sheet(
            surveys.describe_all(found, self.networks, self.thesis),
            surveys.loud_all(found, self.networks),
            [Block("", words("loss_change")["header"], lines)],
            records,
        )
        yield Picture("figure_4_3", lambda figure: self.paint(figure, found, parts))

    def paint(self, figure: Figure, found: Mapping[str, Run], parts: Parts) -> list[str]:
        """Draw a row of panels per form, a column per network; return the lines of the footnote."""
        for letter, axes, form, network in grid(figure, (DOUBLE_COLUMN, 4.9), tuple(FORMS), self.networks):
            axes.set_title(f"{letter} {network_label(network)}: {FORMS[form]}")
            part = parts.get((network, form))
            if part is None:
                blank(axes, surveys.absent_text(network, PROBE_NAME))
            else:
                _draw(axes, part)
        return [words("loss_change")["figure"], *surveys.footnotes(found, self.networks)]


def _quartiles(name: str, values: Values) -> tuple[str, tuple[object, ...]]:
    """Return median and quartiles of a quantity over samples for people, and its cells of the csv file."""
    low, middle, high = map(float, np.percentile(values, QUARTILES))
    write = percent if name.endswith("share") else format_number
    return bracketed(*map(write, (middle, low, high))), (middle, low, high, float(values.mean()), values.size)


def _draw(axes: Axes, part: Distribution) -> None:
    """Draw the histogram over samples pooled, its quartiles, the percentiles and the share at 0."""
    axes.set_ylabel("weights (%)")
    axes.set_xlabel("estimated |change in training loss| (nats)")
    text = f"exactly 0: {percent(part.zero.mean())} %\nof the weights"
    axes.text(0.02, 0.97, text, transform=axes.transAxes, va="top", fontsize=7)
    if not part.exponents.size:
        return
    edges = 10 ** (np.append(part.exponents, part.exponents[-1] + 1) / BINS_PER_DECADE)
    low, high = 100 * np.percentile(part.shares, (25, 75), axis=0)
    axes.set_xscale("log")
    axes.stairs(high, edges, baseline=low, fill=True, color=COLOUR, alpha=0.25, linewidth=0)
    pooled = 100 * part.shares.mean(axis=0)
    axes.stairs(pooled, edges, color=COLOUR)
    axes.set_ylim(0, HEADROOM * float(max(high.max(), pooled.max())))
    axes.set_xlim(*_limits(part, edges))
    for place, mark in enumerate(MARKS):
        value = float(np.median(part.percentiles[:, place]))
        # A logarithmic axis has no 0, where more than 95 or 98 % of the weights may be.
        label = f"{mark}th: {format_number(value) if value > 0 else '0, off the axis'}"
        axes.axvline(value if value > 0 else np.nan, ymax=1 / HEADROOM, **MARK_LINES[mark], label=label)
    axes.legend(loc="upper right", frameon=False, handlelength=1.4, borderaxespad=0.1)


def _limits(part: Distribution, edges: Values) -> tuple[float, float]:
    """Return the ends of the axis: all but the tails of the bins, and every mark."""
    mass = np.append(0, part.shares.mean(axis=0).cumsum())
    inside = np.flatnonzero((mass[1:] > TAIL * mass[-1]) & (mass[:-1] < (1 - TAIL) * mass[-1]))
    marks = np.median(part.percentiles, axis=0)
    ends = np.array([edges[inside[0]], edges[inside[-1] + 1], *marks[marks > 0]])
    return float(ends.min()) / 2, float(ends.max()) * 2
