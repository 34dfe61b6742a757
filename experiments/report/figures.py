"""Figures as definitions, and their drawing to png and svg, the same bytes from the same records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from experiments.report.boxplots import draw_accuracies, draw_sample_losses
from experiments.report.canvas import blank, draw, grid
from experiments.report.captions import absent_text, describe_scale, is_reduced, warnings
from experiments.report.curves import draw_curves
from experiments.report.frames import Frames, ReportError
from experiments.report.style import network_label

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
    """

    name: str
    kind: str
    networks: tuple[str, ...]
    setting: str
    methods: tuple[str, ...]
    measure: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ReportError(f"{self.name}: no kind of figure {self.kind!r}; there are {sorted(KINDS)}")


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
    notes = []
    for letter, axes, _, network in grid(figure, (7.0, 2.5), ("",), spec.networks):
        part = frames.select(network=network, setting=spec.setting)
        axes.set_title(f"{letter} {network_label(network)}")
        if part.runs.empty:
            blank(axes, absent_text(network, spec.setting))
        else:
            notes += draw_sample_losses(axes, part, spec.methods)
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


def _scale_notes(spec: FigureSpec, frames: Frames) -> list[str]:
    """Return the scale of each network where it is reduced, and what is wrong with its N0."""
    lines = []
    for network in spec.networks:
        runs = frames.select(network=network, setting=spec.setting, method=spec.methods).runs
        if is_reduced(runs):
            scale = describe_scale(runs)
            lines.append(f"{network_label(network)}: {scale[0].lower()}{scale[1:]}")
        lines += [f"{network_label(network)}: {warning}" for warning in warnings(runs)]
    return lines


def render(spec: FigureSpec, frames: Frames) -> dict[str, bytes]:
    """Return the figure as files: `{"png": ..., "svg": ...}`.

    Args:
        spec: The figure.
        frames: Of any runs; those of other networks, settings and methods are not looked at.
    """

    def paint(figure: Figure) -> list[str]:
        return [*KINDS[spec.kind](figure, frames, spec), *_scale_notes(spec, frames)]

    return draw(paint)
