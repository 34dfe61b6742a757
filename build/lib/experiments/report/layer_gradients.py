"""How large a sample's gradient is in each layer, before and after normalisation: figure 4.13 (section 4.8.2)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import Run
from experiments.report.canvas import Picture, blank
from experiments.report.layer_shares import Bools, Layers, is_largest, layers_of
from experiments.report.metrics import MISSING
from experiments.report.numbers import format_count, format_number, format_spread
from experiments.report.part import Made, Study, words
from experiments.report.sheet import Block, bracketed, percent
from experiments.report.style import DOUBLE_COLUMN, METHODS, network_label
from experiments.report.surveys import (
    RESAMPLES,
    Values,
    absent_text,
    by_network,
    describe,
    footnotes,
    loud_all,
    resamples,
    share_interval,
)

PROBE_NAME = "layer_gradients"
BEFORE, AFTER = METHODS["bgd_ii"].colour, METHODS["retrain"].colour  # unlike enough, as lightness too
WIDE = 30  # largest over smallest: beyond it a linear axis hides the small ones


@dataclass(frozen=True)
class LayerGradientsPart(Study):
    """Figure 4.13, a table of its numbers, and the verdict on a claim about one layer.

    Attributes:
        claimed: The layer that the thesis says has the highest gradient magnitudes for all samples.
    """

    presets: tuple[str, ...] = ("figure_4_13",)
    claimed: str = "lin1.weight"
    tables = ("layer_gradients",)
    figures = ("figure_4_13",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure.

        Raises:
            ReportError: Two runs of a network, or the samples of a run name different layers.
        """
        found = by_network(runs, PROBE_NAME)
        layers = {name: layers_of(found[name]) for name in self.networks if name in found}
        told = words("layer_gradients")
        caption, lines = [], []
        records: list[list[object]] = []
        for network in self.networks:
            caption.append(describe(network, found.get(network), self.thesis.errors_of(network)))
            if network not in layers:
                lines.append([network_label(network), *[MISSING] * (len(told["header"]) - 1)])
                records.append([network, MISSING, *[None] * (len(told["columns"]) - 3), 0])
                continue
            part = layers[network]
            draws = resamples(part.magnitude.shape[0], PROBE_NAME, network)
            caption.append(_verdict(network, part, self.claimed, draws))
            lines += [_line(network, part, place) for place in range(len(part.names))]
            records += [_record(network, part, place, draws) for place in range(len(part.names))]
        yield self.sheet(
            caption,
            loud_all(found, self.networks),
            [Block("", told["header"], lines)],
            records,
        )
        yield Picture(
            "figure_4_13",
            lambda figure: [*_paint(figure, self.networks, layers), *footnotes(found, self.networks)],
        )


def _largest(part: Layers) -> tuple[Bools, Bools, Bools]:
    """Return where the largest sum, mean per weight and single |g| are: (samples, layers) each."""
    return is_largest(part.magnitude), is_largest(part.per_weight), is_largest(part.largest)


def _shares(part: Layers, place: int, draws: Values) -> list[tuple[float, float, float]]:
    """Return in which share of the samples a layer is the largest, by each of three, with its interval."""
    return [
        (float(hits.mean()), *share_interval(hits, draws))
        for hits in (each[:, place] for each in _largest(part))
    ]


def _verdict(network: str, part: Layers, claimed: str, draws: Values) -> str:
    """Return in how many samples the claim on one layer holds (section 4.8.2)."""
    layer, label = claimed.removesuffix(".weight"), network_label(network)
    if claimed not in part.names:
        return f"{label} has no layer {layer}."
    shares = [bracketed(*map(percent, ends)) for ends in _shares(part, part.names.index(claimed), draws)]
    told: str = words("layer_gradients")["verdict"]
    named = dict(zip(("sum", "mean", "single"), shares, strict=True))
    text = told.format(label=label, layer=layer, count=part.magnitude.shape[0], resamples=RESAMPLES, **named)
    gaps = part.without_gradient
    return text + (f" {format_count(gaps)} samples have no gradient at all and no prior." if gaps else "")


def _prior(part: Layers, place: int) -> list[float]:
    """Return the means of a layer's share before and after, over the samples with a prior; NaN where none has."""
    known = (values[:, place][~np.isnan(values[:, place])] for values in (part.before, part.after))
    return [float(values.mean()) if values.size else np.nan for values in known]


def _spread(values: Values) -> float | None:
    return float(values.std(ddof=1)) if values.size > 1 else None


def _line(network: str, part: Layers, place: int) -> list[str]:
    sums = part.magnitude[:, place]
    return [
        *(network_label(network), part.names[place].removesuffix(".weight")),
        format_count(int(part.sizes[place])),
        format_spread(float(sums.mean()), _spread(sums)),
        format_number(float(part.per_weight[:, place].mean())),
        *("none" if np.isnan(share) else percent(share) for share in _prior(part, place)),
        *(percent(float(hits[:, place].mean())) for hits in _largest(part)),
    ]


def _record(network: str, part: Layers, place: int, draws: Values) -> list[object]:
    sums = part.magnitude[:, place]
    return [
        *(network, part.names[place], int(part.sizes[place]), float(sums.mean()), _spread(sums)),
        *map(float, np.percentile(sums, (25, 50, 75))),
        float(part.per_weight[:, place].mean()),
        *(100 * share for share in _prior(part, place)),
        *(100 * share for ends in _shares(part, place, draws) for share in ends),
        sums.size,
    ]


def _paint(figure: Figure, networks: Sequence[str], layers: Mapping[str, Layers]) -> list[str]:
    """Draw a column of panels per network; return the lines of the footnote."""
    figure.set_size_inches(DOUBLE_COLUMN, 4.4)
    panels = figure.subplots(2, len(networks), squeeze=False)
    logarithmic = False
    for column, network in enumerate(networks):
        above, below = panels[:, column]
        label = network_label(network)
        above.set_title(f"({'abcdefgh'[column]}) {label}, before normalisation")
        below.set_title(f"({'abcdefgh'[column + len(networks)]}) {label}, before and after")
        if network in layers:
            logarithmic |= _draw_sums(above, layers[network])
            _draw_shares(below, layers[network])
        else:
            for axes in (above, below):
                blank(axes, absent_text(network, PROBE_NAME))
    panels[0, 0].set_ylabel("summed |g|")
    panels[1, 0].set_ylabel("share of the prior (%)")
    wide = ["Summed |g| on a logarithmic axis where the layers differ widely."]
    return [words("layer_gradients")["figure"], *(wide if logarithmic else [])]


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
