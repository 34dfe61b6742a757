"""How the estimated change in training loss is distributed over the weights: figure 4.3 of the thesis.

Section 4.6.2. The estimate has two forms: |Gbar_j (-1 / g_j)| as printed, |Gbar_j g_j| in the released code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import Run
from experiments.report.canvas import blank, draw
from experiments.report.frames import ReportError
from experiments.report.numbers import format_number
from experiments.report.sheet import Block, Sheet, bracketed, percent, sheet_names
from experiments.report.style import DOUBLE_COLUMN, METHODS, NETWORKS, network_label
from experiments.report.surveys import (
    Values,
    absent_text,
    bold,
    by_network,
    describe,
    footnotes,
    measurements,
)

PROBE_NAME = "loss_change"
FORMS = {
    "second_order_step": "|Ḡ / g|, as printed (Eq. 4.6.2)",
    "gradient_product": "|Ḡ g|, released code",
}
MARKS = (95, 98)  # percentiles: the thesis' threshold and the released default
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


def distribution(run: Run, form: str) -> Distribution:
    """Return one form's distribution of a run of the probe `loss_change`.

    Raises:
        ReportError: The probe looked at other percentiles than `MARKS`.
    """
    if tuple(run.header.spec["probe"].get("percentiles", MARKS)) != MARKS:
        raise ReportError(f"{run.header.run_id}: percentiles other than {MARKS}")
    values = [item.values for item in measurements(run)]
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


@dataclass(frozen=True)
class LossChangePart:
    """Figure 4.3 and a table of its percentiles.

    Attributes:
        presets: Whose runs.
        networks: A column of panels each.
        figure, table: Names of the files.
        thesis_errors: By network, how many test images the thesis' N0 gets wrong.
    """

    presets: tuple[str, ...] = ("figure_4_3",)
    networks: tuple[str, ...] = tuple(NETWORKS)
    figure: str = "figure_4_3"
    table: str = "loss_change"
    thesis_errors: tuple[tuple[str, int], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return (*sheet_names(self.table), *(f"figures/{self.figure}.{kind}" for kind in ("png", "svg")))

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`.

        Raises:
            ReportError: Two runs of a network, or percentiles other than `MARKS`.
        """
        found = by_network(runs, PROBE_NAME)
        parts = {
            (network, form): distribution(found[network], form)
            for network in self.networks
            if network in found
            for form in FORMS
        }
        images = draw(lambda figure: self._paint(figure, found, parts))
        return {
            **self._sheet(found, parts).files(),
            **{f"figures/{self.figure}.{kind}": image for kind, image in images.items()},
        }

    def _paint(
        self, figure: Figure, found: dict[str, Run], parts: dict[tuple[str, str], Distribution]
    ) -> list[str]:
        figure.set_size_inches(DOUBLE_COLUMN, 4.9)
        panels = figure.subplots(len(FORMS), len(self.networks), squeeze=False)
        letters = iter("abcdefgh")
        for row, (form, label) in zip(panels, FORMS.items(), strict=True):
            for axes, network in zip(row, self.networks, strict=True):
                axes.set_title(f"({next(letters)}) {network_label(network)}: {label}")
                if (network, form) in parts:
                    _draw(axes, parts[network, form])
                else:
                    blank(axes, absent_text(network, PROBE_NAME))
        meaning = (
            "Line: share of the weights in each quarter of a decade, samples pooled; band: quartiles over the samples."
            " Vertical: median over the samples of the 95th and 98th percentile over all weights, zeros included."
            " Left out at either end of an axis: 0.05 % of the weights that are not at 0. g: gradient of the loss of"
            " the misclassified sample; Ḡ: of the training loss."
        )
        return [meaning, *footnotes(found, self.networks)]

    def _sheet(self, found: dict[str, Run], parts: dict[tuple[str, str], Distribution]) -> Sheet:
        thesis = dict(self.thesis_errors)
        scale = [describe(name, found.get(name), thesis.get(name)) for name in self.networks]
        header = ["network", "estimate", "n", "95th percentile", "98th percentile", "zero (%)", "rising (%)"]
        lines, records = [], []
        for network in self.networks:
            for form, label in FORMS.items():
                part = parts.get((network, form))
                name = [network_label(network), label]
                lines.append(name + (["missing"] * 5 if part is None else _cells(part)))
                records += _records(network, form, part)
        return Sheet(
            name=self.table,
            heading="Estimated change in training loss",
            caption=" ".join([_MEANING, *scale]),
            warnings=[text for name in self.networks for text in bold(name, found.get(name))],
            blocks=[Block("", header, lines)],
            columns=("network", "form", "quantity", "median", "low_quartile", "high_quartile", "mean", "n"),
            records=records,
        )


_MEANING = (
    "Estimate of the change in training loss from updating one weight (section 4.6.2), over all weights of a network,"
    " for each misclassified sample; the thesis draws it (figure 4.3) and prints no number."
    " g is the gradient of the sample's loss, Ḡ that of the training loss."
    " Cells: median over the n samples [lower quartile, upper quartile] of a percentile over the weights, of the share"
    " of weights whose estimate is exactly 0, and of the share whose update would raise the training loss to first"
    " order; the two forms go the same way and share the last one. The brackets are quartiles, not intervals of"
    " confidence."
)


def _quantities(part: Distribution) -> dict[str, Values]:
    marks = {f"percentile_{mark}": part.percentiles[:, place] for place, mark in enumerate(MARKS)}
    return {**marks, "zero_share": part.zero, "rising_share": part.rising}


def _cells(part: Distribution) -> list[str]:
    cells = [str(part.zero.size)]
    for name, values in _quantities(part).items():
        write = percent if name.endswith("share") else format_number
        low, middle, high = (write(float(value)) for value in np.percentile(values, (25, 50, 75)))
        cells.append(bracketed(middle, low, high))
    return cells


def _records(network: str, form: str, part: Distribution | None) -> list[tuple[object, ...]]:
    if part is None:
        names = (*(f"percentile_{mark}" for mark in MARKS), "zero_share", "rising_share")
        return [(network, form, name, "missing", None, None, None, 0) for name in names]
    records: list[tuple[object, ...]] = []
    for name, values in _quantities(part).items():
        low, middle, high = map(float, np.percentile(values, (25, 50, 75)))
        records.append((network, form, name, middle, low, high, float(values.mean()), values.size))
    return records


def _draw(axes: Axes, part: Distribution) -> None:
    """Draw the histogram over samples pooled, its quartiles, the percentiles and the share at 0."""
    axes.set_ylabel("weights (%)")
    axes.set_xlabel("estimated |change in training loss| (nats)")
    axes.text(
        *(0.02, 0.97),
        f"exactly 0: {percent(part.zero.mean())} %\nof the weights",
        transform=axes.transAxes,
        va="top",
        fontsize=7,
    )
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
