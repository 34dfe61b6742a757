"""How large a sample's gradient is in each layer, before and after normalisation: figure 4.13 (section 4.8.2)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import Run
from experiments.report import surveys
from experiments.report.canvas import Picture, blank, grid
from experiments.report.layer_shares import Layers, is_largest, layers_of
from experiments.report.metrics import MISSING
from experiments.report.numbers import format_count, format_number, format_spread
from experiments.report.part import Made, Study, words
from experiments.report.sheet import Block, bracketed, per_cent
from experiments.report.style import DOUBLE_COLUMN, METHODS, network_label
from experiments.report.surveys import Values

PROBE_NAME = "layer_gradients"
BEFORE, AFTER = METHODS["bgd_ii"].colour, METHODS["retrain"].colour  # unlike enough, as lightness too
# By what a layer can be the largest: part of a column's name, and the values of a sample.
LARGEST = {"sum": "magnitude", "per_weight": "per_weight", "single": "largest"}
WIDE = 30  # largest over smallest: beyond it a linear axis hides the small ones


@dataclass(frozen=True)
class LayerGradientsPart(Study):
    """Figure 4.13, a table of its numbers, and the verdict on the layer said to have the highest magnitudes."""

    presets: tuple[str, ...] = ("figure_4_13",)
    claimed: str = "lin1.weight"
    tables = ("layer_gradients",)
    figures = ("figure_4_13",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure.

        Raises:
            ReportError: Two runs of a network, or the samples of a run name different layers.
        """
        found = surveys.by_network(runs, PROBE_NAME)
        layers = {name: layers_of(found[name]) for name in self.networks if name in found}
        told = words("layer_gradients")
        caption, lines, records = [], [], []
        for network in self.networks:
            caption.append(surveys.describe(network, found.get(network), self.thesis.errors_of(network)))
            if network not in layers:
                lines.append([network_label(network), *[MISSING] * (len(told["header"]) - 1)])
                records.append([network, MISSING, *[None] * (len(told["columns"]) - 3), 0])
                continue
            part = layers[network]
            draws = surveys.resamples(part.magnitude.shape[0], PROBE_NAME, network)
            own = [_record(network, part, place, draws) for place in range(len(part.names))]
            of_layers = {record[1]: dict(zip(told["columns"], record, strict=True)) for record in own}
            caption.append(_verdict(network, part, self.claimed, of_layers))
            lines += [_line(of) for of in of_layers.values()]
            records += own
        yield self.sheet(
            caption,
            surveys.loud_all(found, self.networks),
            [Block("", told["header"], lines)],
            records,
        )
        yield Picture(
            "figure_4_13",
            lambda figure: [*_paint(figure, self.networks, layers), *surveys.footnotes(found, self.networks)],
        )


def _verdict(network: str, part: Layers, claimed: str, of_layers: Mapping[str, Mapping[str, Any]]) -> str:
    """Return in how many samples the claim on one layer holds (section 4.8.2)."""
    layer, label = claimed.removesuffix(".weight"), network_label(network)
    if claimed not in of_layers:
        return f"{label} has no layer {layer}."
    of = of_layers[claimed]
    shares = {
        name: bracketed(*(per_cent(of[f"largest_{name}_{end}"]) for end in ("percent", "low", "high")))
        for name in LARGEST
    }
    told: str = words("layer_gradients")["verdict"]
    text = told.format(label=label, layer=layer, count=of["samples"], resamples=surveys.RESAMPLES, **shares)
    gaps = part.without_gradient
    return text + (f" {format_count(gaps)} samples have no gradient at all and no prior." if gaps else "")


def _line(of: Mapping[str, Any]) -> list[str]:
    """Return what people read of a line of the csv file."""
    priors = (of["prior_before_percent"], of["prior_after_percent"])
    return [
        *(network_label(of["network"]), of["layer"].removesuffix(".weight"), format_count(of["weights"])),
        *(format_spread(of["summed_mean"], of["summed_sd"]), format_number(of["per_weight_mean"])),
        *("none" if np.isnan(share) else per_cent(share) for share in priors),
        *(per_cent(of[f"largest_{name}_percent"]) for name in LARGEST),
    ]


def _record(network: str, part: Layers, place: int, draws: Values) -> list[Any]:
    sums = part.magnitude[:, place]
    priors = (values[:, place][~np.isnan(values[:, place])] for values in (part.before, part.after))
    hits = [is_largest(getattr(part, values))[:, place] for values in LARGEST.values()]
    return [
        *(network, part.names[place], int(part.sizes[place])),
        *(float(sums.mean()), float(sums.std(ddof=1)) if sums.size > 1 else None),
        *map(float, np.percentile(sums, (25, 50, 75))),
        float(part.per_weight[:, place].mean()),
        *(100 * float(values.mean()) if values.size else np.nan for values in priors),
        *(100 * end for each in hits for end in (float(each.mean()), *surveys.share_interval(each, draws))),
        sums.size,
    ]


def _paint(figure: Figure, networks: Sequence[str], layers: Mapping[str, Layers]) -> list[str]:
    """Draw a column of panels per network; return the lines of the footnote."""
    logarithmic = False
    rows = {"before normalisation": "summed |g|", "before and after": "share of the prior (%)"}
    for letter, axes, row, network in grid(figure, (DOUBLE_COLUMN, 4.4), tuple(rows), networks):
        axes.set_title(f"{letter} {network_label(network)}, {row}")
        if network == networks[0]:
            axes.set_ylabel(rows[row])
        if network not in layers:
            blank(axes, surveys.absent_text(network, PROBE_NAME))
        elif row == "before and after":
            _draw_shares(axes, layers[network])
        else:
            logarithmic |= _draw_sums(axes, layers[network])
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
