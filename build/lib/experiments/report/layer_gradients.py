"""How large a sample's gradient is in each layer, before and after normalisation: figure 4.13 (section 4.8.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.records.schema import Run
from experiments.report.canvas import draw
from experiments.report.layer_panels import paint_layers
from experiments.report.layer_shares import Bools, Layers, is_largest, layers_of
from experiments.report.metrics import MISSING
from experiments.report.numbers import format_count, format_number, format_spread
from experiments.report.sheet import Block, Sheet, bracketed, percent, sheet_names
from experiments.report.style import NETWORKS, network_label
from experiments.report.surveys import (
    RESAMPLES,
    Values,
    bold,
    by_network,
    describe,
    footnotes,
    resamples,
    share_interval,
)

PROBE_NAME = "layer_gradients"
HEADER = (
    *("network", "layer", "weights", "summed |g|", "|g| per weight", "prior before (%)", "prior after (%)"),
    *("largest sum (% of samples)", "largest |g| per weight (%)", "largest single |g| (%)"),
)
COLUMNS = (
    *("network", "layer", "weights", "summed_mean", "summed_sd", "summed_low_quartile", "summed_median"),
    *("summed_high_quartile", "per_weight_mean", "prior_before_percent", "prior_after_percent"),
    *("largest_sum_percent", "largest_sum_low", "largest_sum_high", "largest_per_weight_percent"),
    *("largest_per_weight_low", "largest_per_weight_high", "largest_single_percent"),
    *("largest_single_low", "largest_single_high", "samples"),
)
MEANING = (
    "The gradient g of the loss of a misclassified sample, layer by layer, over all misclassified samples of a run"
    " (section 4.8.2; the thesis draws it in figure 4.13 and prints no number). Weights only, as the method updates"
    " no bias. Summed |g|: mean ± sample standard deviation (ddof = 1) over samples. |g| per weight: mean over the"
    " layer's weights and the samples. Prior: mean over samples of the layer's share of the probability to be"
    " drawn, before and after layer-wise normalisation. The last three columns: in how many samples the layer is the"
    " largest, by its sum, its mean per weight and its largest single |g|."
)


@dataclass(frozen=True)
class LayerGradientsPart:
    """Figure 4.13, a table of its numbers, and the verdict on a claim about one layer.

    Attributes:
        presets: Whose runs.
        networks: A column of panels each.
        figure, table: Names of the files.
        claimed: The layer that the thesis says has the highest gradient magnitudes for all samples.
        thesis_errors: By network, how many test images the thesis' N0 gets wrong.
    """

    presets: tuple[str, ...] = ("figure_4_13",)
    networks: tuple[str, ...] = tuple(NETWORKS)
    figure: str = "figure_4_13"
    table: str = "layer_gradients"
    claimed: str = "lin1.weight"
    thesis_errors: tuple[tuple[str, int], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return (*sheet_names(self.table), *(f"figures/{self.figure}.{kind}" for kind in ("png", "svg")))

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`.

        Raises:
            ReportError: Two runs of a network, or the samples of a run name different layers.
        """
        found = by_network(runs, PROBE_NAME)
        layers = {name: layers_of(found[name]) for name in self.networks if name in found}
        notes = footnotes(found, self.networks)
        images = draw(lambda figure: [*paint_layers(figure, self.networks, layers), *notes])
        return {
            **self._sheet(found, layers).files(),
            **{f"figures/{self.figure}.{kind}": image for kind, image in images.items()},
        }

    def _sheet(self, found: Mapping[str, Run], layers: Mapping[str, Layers]) -> Sheet:
        thesis = dict(self.thesis_errors)
        caption, lines = [MEANING], []
        records: list[list[object]] = []
        for network in self.networks:
            caption.append(describe(network, found.get(network), thesis.get(network)))
            part = layers.get(network)
            if part is None:
                lines.append([network_label(network), *[MISSING] * (len(HEADER) - 1)])
                records.append([network, MISSING, *[None] * (len(COLUMNS) - 3), 0])
                continue
            draws = resamples(part.magnitude.shape[0], PROBE_NAME, network)
            caption.append(_verdict(network, part, self.claimed, draws))
            for place in range(len(part.names)):
                lines.append(_line(network, part, place))
                records.append(_record(network, part, place, draws))
        return Sheet(
            name=self.table,
            heading="Gradients of the layers",
            caption=" ".join(caption),
            warnings=[text for name in self.networks for text in bold(name, found.get(name))],
            blocks=[Block("", HEADER, lines)],
            columns=COLUMNS,
            records=records,
        )


def _largest(part: Layers) -> tuple[Bools, Bools, Bools]:
    """Return where the largest sum, mean per weight and single |g| are: (samples, layers) each."""
    return is_largest(part.magnitude), is_largest(part.per_weight), is_largest(part.largest)


def _verdict(network: str, part: Layers, claimed: str, draws: Values) -> str:
    """Return in how many samples the claim on one layer holds (section 4.8.2)."""
    layer = claimed.removesuffix(".weight")
    label, count = network_label(network), part.magnitude.shape[0]
    if claimed not in part.names:
        return f"{label} has no layer {layer}."
    place = part.names.index(claimed)
    shares = [bracketed(*map(percent, _with_interval(hits[:, place], draws))) for hits in _largest(part)]
    gaps = part.without_gradient
    left = f" {format_count(gaps)} samples have no gradient at all and no prior." if gaps else ""
    return (
        f"{label}: of all layers {layer} has the largest summed |g| in {shares[0]} % of the {format_count(count)}"
        f" samples (the thesis: in all), the largest mean |g| per weight in {shares[1]} %, the largest single |g| in"
        f" {shares[2]} %."
        f" Brackets: 95 % percentile bootstrap interval over samples, {RESAMPLES:,} resamples; one of a"
        f" single value says only that no two samples of the run differ.{left}"
    )


def _with_interval(hits: Bools, draws: Values) -> tuple[float, float, float]:
    return (float(hits.mean()), *share_interval(hits, draws))


def _mean(values: Values, place: int) -> float:
    """Return the mean over the samples that have a value; NaN where none has."""
    known = values[:, place][~np.isnan(values[:, place])]
    return float(known.mean()) if known.size else np.nan


def _spread(values: Values) -> float | None:
    return float(values.std(ddof=1)) if values.size > 1 else None


def _line(network: str, part: Layers, place: int) -> list[str]:
    sums = part.magnitude[:, place]
    prior = [_mean(values, place) for values in (part.before, part.after)]
    return [
        *(network_label(network), part.names[place].removesuffix(".weight")),
        format_count(int(part.sizes[place])),
        format_spread(float(sums.mean()), _spread(sums)),
        format_number(float(part.per_weight[:, place].mean())),
        *("none" if np.isnan(share) else percent(share) for share in prior),
        *(percent(float(hits[:, place].mean())) for hits in _largest(part)),
    ]


def _record(network: str, part: Layers, place: int, draws: Values) -> list[object]:
    sums = part.magnitude[:, place]
    shares = [100 * share for hits in _largest(part) for share in _with_interval(hits[:, place], draws)]
    return [
        *(network, part.names[place], int(part.sizes[place]), float(sums.mean()), _spread(sums)),
        *map(float, np.percentile(sums, (25, 50, 75))),
        float(part.per_weight[:, place].mean()),
        *(100 * _mean(values, place) for values in (part.before, part.after)),
        *shares,
        sums.size,
    ]
