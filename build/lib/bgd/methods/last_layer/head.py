"""The last linear layer as a classifier head: what goes into it is fixed, so the logits are linear in its parameters.

With h the layer's input, a 1 appended where it has a bias, and V (C, D) its weights with the bias as last column, the
logits are z = V h. A change X of V moves them by X h, whatever the layers before are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bgd.layers import editable_linear, entering, output_layer, parameter_of, watched
from bgd.methods.base import Correction, Sample, Trial
from bgd.patch import Patch

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

BATCH = 500  # keep images at a time: activations of AlexNet's convolutions take about 100 kB an image
NOT_FINITE = "the inputs of the last layer or the logits are not finite"
NOT_FINITE_KEPT = "the inputs of the last layer are not finite on the keep-set"


@dataclass(frozen=True, eq=False)
class View:
    """What the head sees of a sample.

    Attributes:
        inputs: h (D,), in float64.
        logits: V h (C,), in float64, as they are judged: free of the rounding of the network's own.
        label: The right class t.
        finite: Whether inputs, logits and the network's own logits are finite.
    """

    inputs: Floats
    logits: Floats
    label: int
    finite: bool

    @property
    def deficit(self) -> float:
        """What the right class lacks on the largest of its rivals, in logits: max over c of z_c, less z_t."""
        return float(np.delete(self.logits, self.label).max() - self.logits[self.label])


class Head:
    """The last layer of a trial's network: the linear one whose outputs are the network's (`bgd.layers.head`).

    Attributes:
        values: V (C, D), in float64: the weights, and the bias as last column where there is one.
        bias: Whether there is one.

    Raises:
        LayerError: The network's outputs are those of no plain linear layer.
    """

    def __init__(self, trial: Trial, sample: Sample) -> None:
        """Find the layer; `sample` is an input to run the network with."""
        self._trial = trial
        self._name = head_of(trial, sample)
        layer = editable_linear(trial.network, self._name)
        self.bias = layer.bias is not None
        own = [parameter_of(self._name, part) for part in ("weight", "bias")[: 1 + self.bias]]
        self._before = [name for name in trial.space.names if name not in own]
        parts = [trial.space.span(name) for name in own]
        columns = [torch.arange(part.start, part.stop).view(layer.out_features, -1) for part in parts]
        self._positions = torch.cat(columns, dim=1).flatten().to(trial.flat.device)
        self._classes = layer.out_features
        self.values = self.of_vector(trial.original)

    def of_vector(self, vector: torch.Tensor) -> Floats:
        """Return the part (C, D) of a vector (|W|,) that lies at V, in float64."""
        part: Floats = vector[self._positions].double().cpu().numpy()
        return part.reshape(self._classes, -1)

    def view(self, sample: Sample) -> View:
        """Return the head's input for a sample: one forward pass of the trial."""
        with watched(self._trial.network, self._name) as into:
            own = self._trial.logits(sample)
        inputs = self._with_one(into[0])[0]
        with np.errstate(invalid="ignore", over="ignore"):
            logits = self.values @ inputs
        if sample.offset is not None:
            logits = logits + sample.offset.double().cpu().numpy()
        finite = bool(torch.isfinite(own).all() and np.isfinite(inputs).all() and np.isfinite(logits).all())
        return View(inputs, logits, int(sample.label), finite)

    def kept_inputs(self, count: int) -> Floats:
        """Return h of the first `count` images of the keep-set (n, D): made once, until a layer before changes.

        Passes over them serve every sample and are not counted among those of a trial.

        Raises:
            LookupError: The method may not know a keep-set, or there is none.
        """
        images = self._trial.keep_images(count)

        def make() -> Floats:
            return self._with_one(entering(self._trial.network, self._name, images, BATCH))

        inputs: Floats = self._trial.kept(
            f"inputs of the last layer, {count} keep images", make, self._before
        )
        return inputs

    def _with_one(self, inputs: torch.Tensor) -> Floats:
        plain: Floats = inputs.detach().double().cpu().numpy()
        return np.hstack([plain, np.ones((len(plain), 1))]) if self.bias else plain

    def right_with(self, change: Floats, sample: Sample) -> bool:
        """Write V + X for a change X (C, D) and return whether the sample is right then, in the network's precision."""
        trial, at = self._trial, self._positions
        moved = torch.from_numpy(np.ascontiguousarray(change)).flatten().to(trial.flat.device)
        trial.altered = at
        trial.flat[at] = (trial.original[at].double() + moved).to(trial.flat.dtype)
        return trial.answer(sample).right

    def correction(self, steps: int) -> Correction:
        """Return the change that was written last, as the correction."""
        trial, at = self._trial, self._positions
        patch = Patch.sparse(trial.space, at, trial.original[at], trial.flat[at])
        return Correction(patch, altered=len(patch), steps=steps)


def head_of(trial: Trial, sample: Sample) -> str:
    """Return the name of the linear layer that gives the outputs of a trial's network: looked for once.

    Passes to find it serve every sample and are not counted among those of a trial.

    Raises:
        LayerError: There is none, or it is not plain.
    """
    name: str = trial.kept("name of the last layer", lambda: output_layer(trial.network, sample.image))
    return name


def widened(margin: float) -> Iterator[float]:
    """Yield margins to try one after another: the one wanted, then larger ones that rounding may ask for.

    Logits are right to about 1e-7 of their size, so that a margin may drown where they are very large.
    """
    yield from (margin * 10.0**power for power in range(4))


def check_margin(margin: float) -> None:
    """Refuse a margin that is not above 0.

    Raises:
        ValueError: It is not.
    """
    if margin <= 0:
        raise ValueError(f"margin={margin}: must be above 0")
