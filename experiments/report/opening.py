"""The first picture: a misread digit, how little is changed, and what becomes of all other digits."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import CORRECTED, PROBE, Measurement, Row, Run, subject
from experiments.report.canvas import Picture, blank
from experiments.report.numbers import format_count
from experiments.report.part import Study
from experiments.report.style import method_style, network_label

KEPT, FIXED, BROKEN = "#A8A8A8", "#0072B2", "#D62728"
ROW = 125  # test images in a row of dots


@dataclass(frozen=True)
class Opening(Study):
    """A figure of one correction, that of the first sample of the work list, for a reader who knows nothing yet."""

    presets: tuple[str, ...] = ("every_error_mlp", "gallery")  # corrections, and the probe `portraits`
    networks: tuple[str, ...] = ("mlp",)
    methods: tuple[str, ...] = ("least_harm",)
    figures = ("opening",)

    def made(self, runs: Sequence[Run]) -> Iterator[Picture]:
        """Make the figure."""
        of_network = [run for run in runs if subject(run.header.spec)[0] == self.network]
        corrected = [run for run in of_network if subject(run.header.spec)[2] in self.methods and run.rows]
        portraits = [run for run in of_network if PROBE in run.header.spec and run.measurements]

        def paint(figure: Figure) -> list[str]:
            figure.set_size_inches(7.2, 2.3)
            if not corrected or not portraits or corrected[0].rows[0].outcome != CORRECTED:
                blank(figure.subplots(), "no correction among the records")
                return []
            run, row = corrected[0], corrected[0].rows[0]
            (portrait,) = [one for one in portraits[0].measurements if one.index == row.index]
            digit, words, dots = figure.subplots(1, 3, width_ratios=(1, 1.15, 1.55))
            _digit(digit, row, portrait)
            _words(words, run, row)
            network, _, method = subject(run.header.spec)
            said = (
                f"{network_label(network)}, {method_style(method).label}, test image {row.index}, the first of"
                f" {format_count(run.header.samples)} that the network gets wrong."
            )
            return [*_dots(dots, run, row), said]

        yield Picture("opening", paint)


def _digit(axes: Axes, row: Row, portrait: Measurement) -> None:
    side = math.isqrt(len(portrait.values["pixels"]))
    axes.imshow(np.reshape(portrait.values["pixels"], (side, side)), cmap="gray_r")
    axes.set_axis_off()
    axes.set_title(f"The network says {row.prediction_before}.\nIt is a {row.label}.", fontsize=10)


def _words(axes: Axes, run: Run, row: Row) -> None:
    axes.set_axis_off()
    axes.annotate("", (1, 0.5), (0, 0.5), arrowprops={"arrowstyle": "-|>", "lw": 3, "color": "#333333"})
    of = format_count(run.header.base["parameters"])
    changed = f"{row.l0} of {of}\nparameters change" if row.l0 > 1 else f"1 of {of}\nparameters changes"
    axes.text(0.5, 0.62, changed, ha="center", va="bottom", fontsize=10, weight="bold")
    axes.text(0.5, 0.38, f"the network says {row.prediction_after}", ha="center", va="top", fontsize=10)


def _dots(axes: Axes, run: Run, row: Row) -> list[str]:
    """Draw a dot for each test image, the changed ones last."""
    images, effects = run.header.test_images, row.side_effects
    other = images - effects.agreeing - effects.broken - effects.fixed  # wrong before and after, otherwise
    counts = (effects.agreeing + other, effects.fixed, effects.broken)
    parts = np.split(np.arange(images), np.cumsum(counts)[:-1])
    for colour, size, part in zip((KEPT, FIXED, BROKEN), (0.6, 16, 16), parts, strict=True):
        axes.scatter(part % ROW, -(part // ROW), s=size, c=colour, linewidths=0)
    axes.set_axis_off()
    moved = images - effects.agreeing
    kept = f"{format_count(effects.agreeing)} keep their class"
    axes.set_title(f"Of {format_count(images)} test images\n{kept}", fontsize=10)
    return [
        f"Right: a dot for each test image. {moved} change class: {effects.fixed} from wrong to right (blue),"
        f" {effects.broken} from right to wrong (red)" + (f", {other} from wrong to wrong." if other else ".")
    ]
