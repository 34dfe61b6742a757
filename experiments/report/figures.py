"""Figures as definitions, and their drawing to png and svg, the same bytes from the same records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, LogLocator, NullFormatter

from experiments.records.schema import Header, Run, subject
from experiments.report.canvas import blank, draw, grid
from experiments.report.captions import absent_text, describe_scale, is_partial, warnings
from experiments.report.curves import draw_curves
from experiments.report.frames import Frames, ReportError, at_one_scale, build_frames, draws
from experiments.report.metrics import NOT_FINITE, Values, column, over_corrected
from experiments.report.numbers import listing
from experiments.report.style import method_style, network_label

BOX_WIDTH = 0.55
ERROR_FLOOR = 1e-5  # less than one wrong image in 54,000; the logarithm of no error at all is not finite
ACCURACY_TICKS = (0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)
LOSS_FLOOR = 1e-8  # a float32 cross-entropy below it is rounding; a logarithmic axis has no zero

LABELS = {
    "test_accuracy": "testing accuracy",
    "train_accuracy": "training accuracy",
    "sample_loss_after": "sample loss (nats)",
}


def after_correction(frames: Frames, methods: Sequence[str], measure: str) -> dict[str, Values | str]:
    """Return a measure over the corrected samples of each method, or in words why there is none."""
    found: dict[str, Values | str] = {}
    for method in methods:
        part = frames.select(method=method)
        values = over_corrected(part.runs, part.samples, partial(column, name=measure))
        finite = values if isinstance(values, str) else values[np.isfinite(values)]
        found[method] = finite if len(finite) else NOT_FINITE
    return found


def draw_accuracies(axes: Axes, frames: Frames, methods: Sequence[str], measure: str) -> list[str]:
    """Draw accuracies in [0, 1] after each corrected sample, with N0's dotted.

    N0's line is drawn method by method: with reduced images the methods of a network differ in it.
    """
    draw_boxes(axes, after_correction(frames, methods, measure))
    for place, method in enumerate(methods):
        for level in frames.select(method=method).runs[f"base_{measure}"].unique():
            axes.plot((place - 0.5, place + 0.5), (level, level), ":", color="#333333", linewidth=1, zorder=3)
    axes.set_yscale("function", functions=(_stretch, _shrink))
    low, high = axes.get_ylim()
    if sum(low <= tick <= high for tick in ACCURACY_TICKS) > 2:
        axes.yaxis.set_major_locator(FixedLocator(ACCURACY_TICKS))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.set_ylabel(LABELS[measure])
    return ["The axis is even in the logarithm of the error, 1 - accuracy."]


def _stretch(accuracy: Values) -> Values:
    """Return how high an accuracy in [0, 1] is drawn: boxes near 1 and outliers near 0 both stay legible."""
    return -np.log10(np.maximum(1 - np.asarray(accuracy), ERROR_FLOOR))


def _shrink(height: Values) -> Values:
    return 1 - 10 ** -np.asarray(height)


def draw_sample_losses(axes: Axes, frames: Frames, methods: Sequence[str]) -> list[str]:
    """Draw the sample's loss in nats after its correction, on a logarithmic axis; return whose are below it."""
    values = after_correction(frames, methods, "sample_loss_after")
    raised: dict[str, Values | str] = {}
    below = []
    for method, losses in values.items():
        raised[method] = losses if isinstance(losses, str) else np.maximum(losses, LOSS_FLOOR)
        if not isinstance(losses, str) and losses.min() < LOSS_FLOOR:
            below.append(method_style(method).short)
    axes.set_yscale("log")
    draw_boxes(axes, raised)
    axes.yaxis.set_major_locator(LogLocator(10, numticks=8))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(LABELS["sample_loss_after"])
    return below


def draw_boxes(axes: Axes, values: Mapping[str, Values | str]) -> None:
    """Draw a box per method in its place, or the words that stand for it."""
    labels = []
    for place, (method, content) in enumerate(values.items()):
        style = method_style(method)
        if isinstance(content, str):
            labels.append(f"{style.short}\n")  # as high as the labels with n
            words: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "center", "color": "#555555"}
            axes.text(place, 0.5, content, transform=axes.get_xaxis_transform(), **words)
        else:
            labels.append(f"{style.short}\nn = {content.size:,}")
            _draw_box(axes, place, content, style.colour)
    axes.set_xticks(range(len(values)), labels)
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.tick_params(axis="x", length=0)


def _draw_box(axes: Axes, place: int, values: Values, colour: str) -> None:
    stats = boxplot_stats(values)
    line: dict[str, Any] = {"color": colour, "linewidth": 1.0}
    axes.bxp(
        stats,
        positions=[place],
        widths=BOX_WIDTH,
        patch_artist=True,
        showfliers=False,
        manage_ticks=False,
        boxprops={"facecolor": f"{colour}40", "edgecolor": colour, "linewidth": 1.0},
        medianprops={"color": colour, "linewidth": 1.8},
        whiskerprops=line,
        capprops=line,
    )
    fliers = stats[0]["fliers"]
    look: dict[str, Any] = {"color": colour, "alpha": 0.35, "markersize": 3, "markeredgewidth": 0}
    # Rasterized: thousands of dots would make the svg large.
    axes.plot(np.full(len(fliers), place), fliers, ".", rasterized=True, **look)


BOXES = "Box: quartiles; whiskers: 1.5 interquartile ranges; n: corrected samples, seeds pooled."

Draw = Callable[[Figure, Frames, "FigureSpec"], list[str]]


@dataclass(frozen=True)
class FigureSpec:
    """What a figure shows.

    Attributes:
        name: Of its files, for example `figure_4_1`.
        kind: A key of `KINDS`.
        networks: A row or column of panels each.
        setting: Whose runs.
        methods: In the order they are drawn.
        measure: For kind "curves": `test_accuracy`, `train_accuracy` or `train_loss`.
        replicas: Presets with runs from replicas of N0, in the non-reloading setting more draws of the same.
        larger: Presets with runs at a larger scale: a network is drawn at its largest one that has every method.
    """

    name: str
    kind: str
    networks: tuple[str, ...]
    setting: str
    methods: tuple[str, ...]
    measure: str = ""
    replicas: tuple[str, ...] = ()
    larger: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ReportError(f"{self.name}: no kind of figure {self.kind!r}; there are {sorted(KINDS)}")

    @property
    def presets(self) -> tuple[str, ...]:
        """Whose runs: the preset of its name, those of its replicas and those at a larger scale."""
        return (self.name, *self.replicas, *self.larger)

    @property
    def names(self) -> tuple[str, ...]:
        """Its files, under the output folder."""
        return tuple(f"figures/{self.name}.{kind}" for kind in ("png", "svg"))

    def shows(self, header: Header) -> bool:
        """Whether it is a run of the figure: of replicas there are other methods too."""
        network, setting, method = subject(header.spec)
        return network in self.networks and setting == self.setting and method in self.methods

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Draw it; see `experiments.report.part.Part`."""
        frames = build_frames(draws(at_one_scale(runs, self.methods)))
        return dict(zip(self.names, render(self, frames).values(), strict=True))


def _draw_accuracies(figure: Figure, frames: Frames, spec: FigureSpec) -> list[str]:
    """Draw testing and training accuracies after each corrected sample: a row of panels per network."""
    notes = []
    size, measures = (7.0, 1.9 * len(spec.networks) + 0.3), ("test_accuracy", "train_accuracy")
    for letter, axes, network, measure in grid(figure, size, spec.networks, measures):
        part = frames.select(network=network, setting=spec.setting)
        axes.set_title(f"{letter} {network_label(network)}")
        if part.runs.empty:
            blank(axes, absent_text(network, spec.setting))
        else:
            notes += draw_accuracies(axes, part, spec.methods, measure)
    return ["Dotted: N0.", *notes, BOXES]


def _draw_sample_losses(figure: Figure, frames: Frames, spec: FigureSpec) -> list[str]:
    """Draw sample losses after each corrected sample: a panel per network."""
    raised = []
    for letter, axes, _, network in grid(figure, (7.0, 2.5), ("",), spec.networks):
        part = frames.select(network=network, setting=spec.setting)
        axes.set_title(f"{letter} {network_label(network)}")
        if part.runs.empty:
            blank(axes, absent_text(network, spec.setting))
        elif below := draw_sample_losses(axes, part, spec.methods):
            raised.append(f"{letter} {listing(below)}")
    notes = [f"Losses below {LOSS_FLOOR:g} are drawn there: {'; '.join(raised)}."] if raised else []
    return [*notes, BOXES]


def _draw_curves(figure: Figure, frames: Frames, spec: FigureSpec) -> list[str]:
    """Draw a figure of the network over the samples: all of them, and the first 100."""
    figure.set_size_inches(7.0, 2.9)
    panels = figure.subplots(1, 2)
    (network,) = spec.networks
    part = frames.select(network=network, setting=spec.setting)
    if not part.runs.empty:
        return draw_curves(figure, panels, part, spec.methods, spec.measure)
    for axes in panels:
        blank(axes, absent_text(network, spec.setting))
    return []


KINDS: Mapping[str, Draw] = {
    "accuracies": _draw_accuracies,
    "sample_losses": _draw_sample_losses,
    "curves": _draw_curves,
}


def scale_notes(spec: FigureSpec, frames: Frames) -> list[str]:
    """Return the scale of each network where not all of it is there, and what is wrong with its N0."""
    lines = []
    for network in spec.networks:
        runs = frames.select(network=network, setting=spec.setting, method=spec.methods).runs
        if is_partial(runs):
            scale = describe_scale(runs)
            lines.append(f"{network_label(network)}: {scale[0].lower()}{scale[1:]}")
        lines += [f"{network_label(network)}: {warning}" for warning in warnings(runs)]
    return lines


def render(spec: FigureSpec, frames: Frames) -> dict[str, bytes]:
    """Return the figure as files, `{"png": ..., "svg": ...}`, from the frames of any runs."""

    def paint(figure: Figure) -> list[str]:
        return [*KINDS[spec.kind](figure, frames, spec), *scale_notes(spec, frames)]

    return draw(paint)
