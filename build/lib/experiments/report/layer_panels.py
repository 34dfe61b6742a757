"""The drawing of figure 4.13 of the thesis."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report.canvas import blank
from experiments.report.layer_shares import Layers
from experiments.report.style import DOUBLE_COLUMN, METHODS, network_label
from experiments.report.surveys import Values, absent_text

BEFORE, AFTER = METHODS["bgd_ii"].colour, METHODS["retrain"].colour  # unlike enough, as lightness too
WIDE = 30  # largest over smallest: beyond it a linear axis hides the small ones

MEANING = (
    "Dot: mean over the misclassified samples; thick bar: quartiles over them; tick: median. First row: |g| summed over"
    " the weights of a layer. Second row: the layer's share of the prior probability, before (blue) and after (orange)"
    " layer-wise normalisation."
)


def paint_layers(figure: Figure, networks: Sequence[str], layers: Mapping[str, Layers]) -> list[str]:
    """Draw a column of panels per network; return the lines of the footnote.

    Args:
        figure: Empty.
        networks: In order, those without a run included.
        layers: By network.
    """
    figure.set_size_inches(DOUBLE_COLUMN, 4.4)
    panels = figure.subplots(2, len(networks), squeeze=False)
    logarithmic = False
    for column, network in enumerate(networks):
        above, below = panels[:, column]
        label = network_label(network)
        above.set_title(f"({'abcdefgh'[column]}) {label}, before normalisation")
        below.set_title(f"({'abcdefgh'[column + len(networks)]}) {label}, before and after")
        part = layers.get(network)
        if part is None:
            blank(above, absent_text(network, "layer_gradients"))
            blank(below, absent_text(network, "layer_gradients"))
            continue
        logarithmic |= _draw_sums(above, part)
        _draw_shares(below, part)
    panels[0, 0].set_ylabel("summed |g|")
    panels[1, 0].set_ylabel("share of the prior (%)")
    return [MEANING, *(["Summed |g| on a logarithmic axis where the layers differ widely."] * logarithmic)]


def _draw_sums(axes: Axes, part: Layers) -> bool:
    """Draw the summed |g| of each layer; return whether the axis is logarithmic."""
    low, high = np.percentile(part.magnitude, (25, 75), axis=0)
    wide = bool(low.min() > 0 and high.max() > WIDE * low.min())
    if wide:
        axes.set_yscale("log")
    _marks(axes, part.magnitude, 0.0, BEFORE)
    if not wide:
        axes.set_ylim(bottom=0)
    _name_layers(axes, part)
    return wide


def _draw_shares(axes: Axes, part: Layers) -> None:
    """Draw the layers' shares of the prior side by side; a sample without a gradient has none."""
    for values, offset, colour in ((part.before, -0.14, BEFORE), (part.after, 0.14, AFTER)):
        known = values[~np.isnan(values).any(axis=1)]
        if len(known):
            _marks(axes, 100 * known, offset, colour)
    axes.set_ylim(bottom=0)
    _name_layers(axes, part)


def _marks(axes: Axes, values: Values, offset: float, colour: str) -> None:
    """Draw mean, median and quartiles of each column of (samples, layers)."""
    places = np.arange(values.shape[1]) + offset
    low, middle, high = np.percentile(values, (25, 50, 75), axis=0)
    axes.vlines(places, low, high, color=colour, alpha=0.35, linewidth=5)
    axes.plot(places, middle, "_", color=colour, markersize=7, clip_on=False)
    axes.plot(places, values.mean(axis=0), "o", color=colour, markersize=3.5, clip_on=False)


def _name_layers(axes: Axes, part: Layers) -> None:
    axes.set_xlim(-0.5, len(part.names) - 0.5)
    axes.set_xticks(range(len(part.names)), [name.removesuffix(".weight") for name in part.names])
