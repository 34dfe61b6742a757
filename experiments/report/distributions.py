"""The distributions behind the means of the reloading setting: size of the change and what it does to the network."""

from dataclasses import dataclass
from functools import partial

from experiments.report.metrics import METRICS, Metric, column
from experiments.report.strips import Panel
from experiments.report.tails import Tails

LOSS_FLOOR = 1e-3  # nats: what lies below it is all equally right
L2_FLOOR = 1e-8  # below the rounding of a float32 weight: a logarithmic axis has no zero


def _known(name: str, label: str, harm: str) -> Metric:
    return Metric(name, label, "samples", METRICS[name].values, harm=harm)


QUANTITIES = (
    Metric("altered", "Parameters altered", "samples", partial(column, name="altered"), harm="largest"),
    _known("POPA", "POPA (%)", "largest"),
    _known("dTL", "ΔTL (nats)", "largest"),
    _known("dTA", "ΔTA", "smallest"),
    _known("sample_loss", "Sample loss (nats)", "largest"),
    Metric("l2", "L2 norm of the change", "samples", partial(column, name="l2"), harm="largest"),
)
# POPA is the parameters altered by a constant: its strip would be the same.
PANELS = (
    Panel("altered", "parameters altered", "right", "log", 1.0),
    Panel("dTL", "change in training loss, ΔTL (nats)", "right", "symlog", 1e-3),
    Panel("dTA", "change in test accuracy, ΔTA", "left", "symlog", 1e-3),
    Panel("sample_loss", "sample loss (nats)", "right", "log", LOSS_FLOOR),
    Panel("l2", "L2 norm of the change", "right", "log", L2_FLOOR),
)


@dataclass(frozen=True)
class Distributions(Tails):
    """Median, percentiles and worst case beside each mean."""

    tables = ("distributions",)
    figures = ("distributions",)
    quantities = QUANTITIES
    drawn = QUANTITIES
    panels = PANELS
