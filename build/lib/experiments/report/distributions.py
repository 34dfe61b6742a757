"""The distributions behind the means of the reloading setting: size of the change and what it does to the network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import experiments.report.metrics as metrics
from experiments.records.schema import Run
from experiments.report.canvas import draw
from experiments.report.knowledge import Knowledge
from experiments.report.metrics import Values
from experiments.report.scope import EVERY_METHOD, Scope
from experiments.report.sheet import sheet_names
from experiments.report.strips import Panel, draw_strips
from experiments.report.style import NETWORKS
from experiments.report.tails import MEANING, Quantity, sheet, tails_of, values_of

LOSS_FLOOR = 1e-3  # nats: what lies below it is all equally right
L2_FLOOR = 1e-8  # below the rounding of a float32 weight: a logarithmic axis has no zero


def _altered(samples: pd.DataFrame) -> Values:
    """Return how many parameters the method altered: a value per sample."""
    return samples["altered"].to_numpy(dtype=np.float64)


def _l2(samples: pd.DataFrame) -> Values:
    """Return the L2 norm of the change of the parameters: a value per sample."""
    return samples["l2"].to_numpy(dtype=np.float64)


QUANTITIES = (
    Quantity("altered", "Parameters altered", "largest", _altered),
    Quantity("POPA", "POPA (%)", "largest", metrics.parameters_altered),
    Quantity("dTL", "ΔTL (nats)", "largest", metrics.training_loss_change),
    Quantity("dTA", "ΔTA", "smallest", metrics.test_accuracy_change),
    Quantity("sample_loss", "Sample loss (nats)", "largest", metrics.sample_loss),
    Quantity("l2", "L2 norm of the change", "largest", _l2),
)
# POPA is the parameters altered by a constant: its strip would be the same.
PANELS = (
    Panel("altered", "parameters altered", "right", "log", 1.0),
    Panel("dTL", "change in training loss, ΔTL (nats)", "right", "symlog", 1e-3),
    Panel("dTA", "change in test accuracy, ΔTA", "left", "symlog", 1e-3),
    Panel("sample_loss", "sample loss (nats)", "right", "log", LOSS_FLOOR),
    Panel("l2", "L2 norm of the change", "right", "log", L2_FLOOR),
)
_AXES = (
    "Axes: logarithmic; those with a 0 linear between minus and plus 0.001. A sample loss below 0.001 nats is drawn"
    " there."
)


@dataclass(frozen=True)
class Distributions:
    """A table and a figure of median, percentiles and worst case beside each mean of the reloading setting.

    Attributes:
        presets: Whose runs.
        networks, methods: In the order that they are shown.
        name: Of the files.
        thesis_errors: By network, how many test images the thesis' N0 gets wrong.
        knowledge: The level of each method, for the caption.
    """

    presets: tuple[str, ...] = ("every_method",)
    networks: tuple[str, ...] = tuple(NETWORKS)
    methods: tuple[str, ...] = EVERY_METHOD
    name: str = "distributions"
    thesis_errors: tuple[tuple[str, int], ...] = ()
    knowledge: Knowledge = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        return (*sheet_names(self.name), *(f"figures/{self.name}.{kind}" for kind in ("png", "svg")))

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        scope = Scope("reloading", self.networks, self.methods, self.thesis_errors, self.knowledge)
        frames = scope.frames(runs)
        values = values_of(scope, frames, QUANTITIES)
        texts = [_CAPTION, MEANING, *scope.caption(frames)]
        heading, bold = "Distributions behind the means", scope.warnings(frames)
        table = sheet(self.name, heading, texts, bold, QUANTITIES, tails_of(values, QUANTITIES))

        def paint(figure: Figure) -> list[str]:
            return [*draw_strips(figure, scope, frames, values, PANELS), _AXES, *scope.footnotes(frames)]

        return {
            **table.files(),
            **{f"figures/{self.name}.{kind}": image for kind, image in draw(paint).items()},
        }


_CAPTION = (
    "Reloading setting: each sample is corrected on N0 itself. ΔTL and ΔTA are the change of training loss and test"
    " accuracy against N0, the sample loss is that after the correction, the L2 norm that of the difference of all"
    " parameters to N0's."
)
