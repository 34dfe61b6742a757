"""The gradient of each layer, sample by sample: what figure 4.13 and its table are made from (section 4.8.2)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.records.schema import Run
from experiments.report.frames import ReportError
from experiments.report.surveys import Values, measurements

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Layers:
    """The weight tensors of a network and the gradients of its misclassified samples in them.

    Attributes:
        names: Of the weight tensors, from the input on: "conv1.weight".
        sizes: (layers,): how many weights each has.
        magnitude: (samples, layers): sum of |g| over the layer's weights.
        largest: (samples, layers): the largest single |g|.
        normalised: (samples, layers): the layer's share of the prior probability after normalisation.
    """

    names: tuple[str, ...]
    sizes: Values
    magnitude: Values
    largest: Values
    normalised: Values

    @property
    def before(self) -> Values:
        """(samples, layers): the layer's share of the prior probability, which is |g| over its sum over all.

        NaN for a sample without any gradient: it has no prior.
        """
        return _share(self.magnitude)

    @property
    def after(self) -> Values:
        """(samples, layers): as `before`, of the layer-normalised prior."""
        return _share(self.normalised)

    @property
    def per_weight(self) -> Values:
        """(samples, layers): mean |g| of a weight of the layer."""
        return np.asarray(self.magnitude / self.sizes, dtype=np.float64)

    @property
    def without_gradient(self) -> int:
        """How many samples have no gradient in any layer."""
        return int((self.magnitude.sum(axis=1) == 0).sum())


def _share(values: Values) -> Values:
    totals = values.sum(axis=1, keepdims=True)
    shares: Values = np.divide(values, totals, out=np.full(values.shape, np.nan), where=totals > 0)
    return shares


def is_largest(values: Values) -> Bools:
    """Return (samples, layers) where a sample's largest value is; nowhere in a sample of zeros.

    Two layers with the same largest value are both it.
    """
    return np.asarray((values == values.max(axis=1, keepdims=True)) & (values > 0), dtype=np.bool_)


def layers_of(run: Run) -> Layers:
    """Return the arrays of a run of the probe `layer_gradients`.

    Raises:
        ReportError: The samples name different layers.
    """
    found = [item.values for item in measurements(run)]
    names, sizes = found[0]["layer"], found[0]["size"]
    if any(values["layer"] != names or values["size"] != sizes for values in found):
        raise ReportError(f"{run.header.run_id}: the samples name different layers")
    return Layers(
        tuple(names),
        np.asarray(sizes, dtype=np.float64),
        *(
            np.array([values[name] for values in found], dtype=np.float64)
            for name in ("magnitude", "largest", "normalised")
        ),
    )
