"""The evaluator of small networks: pre-activations of all layers are kept, and an edit is one compiled pass.

With x the images and z_1 = W_1 x + b_1 the first layer's pre-activations, an edit of few of its weights gives

    z_1' = z_1 + (W_1' - W_1) x + (b_1' - b_1)

in the rows that it changes; one of many gives z_1' = W_1' x + b_1'. From the pre-activations before the first edited
layer, or z_1', everything is computed anew, arg-max and loss included, in one pass (`bgd.evaluation.compiled`): less
work than to find out which images an edit leaves as they were.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bgd.evaluation.activations import REFRESH
from bgd.evaluation.full import Evaluation, FullEvaluator
from bgd.evaluation.inputs import Inputs
from bgd.evaluation.layers import ELEMENTWISE, Layers
from bgd.evaluation.sweep import LIMIT
from bgd.flat import FlatNetwork
from bgd.patch import Patch

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]

WIDEST = 64  # units of a layer: wider ones are products that a library for matrices runs faster
FEW = 64  # edited numbers of the first layer; its product with the images takes no longer than more of them

Edit = tuple[Numbers, Numbers, Floats]
NONE: Edit = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)


@dataclass(frozen=True)
class Row:
    """A row of D fully connected layers, as the compiled pass reads it from the flat vector.

    Attributes:
        starts, biases: Where each layer's weights and biases begin; -1 where it has no biases (D,).
        widths: Inputs of the first layer, and units of each (D + 1,).
        rectified: Whether a ReLU lies behind each layer (D,).
        before: The modules before the first layer, which have no parameters.
    """

    starts: Numbers
    biases: Numbers
    widths: Numbers
    rectified: NDArray[np.bool_]
    before: nn.Sequential

    @classmethod
    def of(cls, network: FlatNetwork, image: torch.Tensor) -> Self | None:
        """Return the row that a network is; None where it is none, or a layer of it is wide."""
        layers, names = Layers(network.module, image), network.space.names
        linear = [layers.modules[stage.at] for stage in layers.stages]
        if not layers.all_known or not linear or not all(isinstance(each, nn.Linear) for each in linear):
            return None
        first = layers.stages[0].at
        behind = [each for each in layers.modules[first:] if not isinstance(each, nn.Linear)]
        units = [len(layers.layer(stage).weight) for stage in layers.stages]
        if not all(isinstance(each, ELEMENTWISE) for each in behind) or max(units) > WIDEST:
            return None
        ends = [*(stage.at for stage in layers.stages[1:]), len(layers.modules)]
        spans = [network.space.span(f"{stage.name}.weight") for stage in layers.stages]
        biases = [f"{stage.name}.bias" for stage in layers.stages]
        return cls(
            np.array([span.start for span in spans]),
            np.array([network.space.span(name).start if name in names else -1 for name in biases]),
            np.array([layers.layer(layers.stages[0]).weight.shape[1], *units]),
            np.array(
                [
                    any(isinstance(each, nn.ReLU) for each in layers.modules[stage.at : end])
                    for stage, end in zip(layers.stages, ends, strict=True)
                ]
            ),
            nn.Sequential(*layers.modules[:first]),
        )

    @property
    def end(self) -> int:
        """First position behind those of the first layer."""
        return int(self.starts[1]) if len(self.starts) > 1 else int(np.iinfo(np.int64).max)

    def layer(self, index: int) -> int:
        """Return the number of the layer that a position in the flat vector belongs to."""
        return int(np.searchsorted(self.starts, index, side="right")) - 1

    def places(self, indices: Numbers) -> tuple[Numbers, Numbers]:
        """Return the unit and the input that parameters of the first layer belong to (k,); -1 for a bias' input."""
        units, inputs = np.divmod(indices - self.starts[0], self.widths[0])
        if self.biases[0] >= 0:
            biases = indices >= self.biases[0]
            units[biases], inputs[biases] = indices[biases] - self.biases[0], -1
        return units, inputs


class SmallEvaluator:
    """Evaluates a small network and changes of it; `of` says whether a network is one.

    Predictions equal the full evaluator's, but where two logits are nearer to each other than rounding; losses equal
    its to rounding. Whatever is not finite, or large enough to take digits from a difference, is left to it.

    Args:
        row: The network, as `Row.of` has it.
        network: The same; the evaluator's own.
        images: What to evaluate on (N, ...).
        labels: The right classes, int64 (N,).
        batch_size: Of the full evaluator.
        base: Evaluation of the network, where it is known already.
    """

    def __init__(
        self,
        row: Row,
        network: FlatNetwork,
        images: torch.Tensor,
        labels: torch.Tensor,
        batch_size: int,
        base: Evaluation | None,
    ) -> None:
        from bgd.evaluation import compiled  # which takes half a second: other networks do without it

        self._compiled, self._row, self._network = compiled, row, network
        self._images, self._labels, self._batch_size = images, labels, batch_size
        self._inputs = Inputs(row.before(images))
        self._base = base
        self._kept: Kept | None = None

    @classmethod
    def of(
        cls,
        network: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor,
        batch_size: int = 100,
        base: Evaluation | None = None,
    ) -> Self | None:
        """Return the evaluator of a network, None where that is no row of small layers in float32 on the CPU.

        Args:
            network: Not changed: the evaluator has its own copy.
            images: What to evaluate on (N, ...).
            labels: The right classes, int64 (N,).
            batch_size: Images at a time, where one is left to the full evaluator.
            base: Evaluation of `network`, where it is known already.
        """
        own = FlatNetwork(network, images.device)
        if images.device.type != "cpu" or not images.dtype == own.flat.dtype == torch.float32:
            return None
        row = Row.of(own, images[:1])
        if row is None or not 0 <= int(labels.min()) <= int(labels.max()) < row.widths[-1]:
            return None
        return cls(row, own, images, labels, batch_size, base)

    @property
    def base(self) -> Evaluation:
        """Evaluation of the network as it is now, made when first asked for."""
        if self._base is None:
            self._base = self._finished(self._values(), 0) or self._slowly()
        return self._base

    def after(self, patch: Patch) -> Evaluation:
        """Evaluate the network with `patch` applied."""
        if not len(patch):
            return self.base
        kept = self._values()
        with self._network.patched(patch):
            return self._passed(kept, patch) or self._slowly()

    def advance(self, patch: Patch) -> None:
        """Make the patched network the new base; what is kept follows."""
        if not len(patch):
            return
        kept = self._values().own()
        patch.apply(self._network.flat)
        self._base = self._passed(kept, patch, write=True)
        self._kept = kept if self._base and kept.added < REFRESH else None

    def fork(self, memory: int | None = None) -> Self:
        """Return an evaluator of the same network; the two share what is kept until one of them advances.

        Args:
            memory: Bytes for what the other keeps for itself. It keeps a few values of each image, whatever this is.
        """
        self._values().shared = True
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._network = FlatNetwork(self._network.module)
        return other

    def _values(self) -> "Kept":
        """Return the units' kept values, made where they are not there; the network is unpatched."""
        if self._kept is None:
            self._kept = Kept(np.empty((int(self._row.widths[1:].sum()), len(self._labels)), np.float32))
            self._finished(self._kept, 0, self._product(), write=True)
        return self._kept

    def _slowly(self) -> Evaluation:
        """Evaluate the network as it is by the full evaluator."""
        return FullEvaluator(self._network.module, self._images, self._labels, self._batch_size).base

    def _passed(self, kept: "Kept", patch: Patch, write: bool = False) -> Evaluation | None:
        """Evaluate the network as it is: what is kept and a patch. None where that is inaccurate."""
        indices, old, new = patch.indices.numpy(), patch.old.numpy(), patch.new.numpy()
        if not np.abs(new).max() <= LIMIT:
            return None
        first = self._row.layer(indices[0])
        if first:
            return self._finished(kept, first - 1, write=write)
        own = int(np.searchsorted(indices, self._row.end))
        if own > FEW:
            kept.added = 0 if write else kept.added
            return self._finished(kept, 0, self._product(one_of_many=True), write=write)
        kept.added += write
        edit = (*self._row.places(indices[:own]), new[:own] - old[:own])
        return self._finished(kept, 0, edit=edit, write=write)

    def _product(self, one_of_many: bool = False) -> Floats:
        """Return the first layer's pre-activations (F, N), computed from the images."""
        start, (inputs, units) = self._row.starts[0], self._row.widths[:2]
        flat, bias = self._network.flat, self._row.biases[0]
        product = self._inputs.one_of_many if one_of_many else self._inputs.product
        values = product(flat[start : start + inputs * units].view(units, inputs))
        if bias >= 0:
            values += flat[bias : bias + units, None]
        return values.numpy()

    def _finished(
        self,
        kept: "Kept",
        first: int,
        values: Floats | None = None,
        edit: Edit = NONE,
        write: bool = False,
    ) -> Evaluation | None:
        """Run all images from a layer's pre-activations on; None where that is inaccurate.

        Args:
            kept: Of the unpatched network.
            first: The layer.
            values: Its pre-activations (F, N); None for the kept ones.
            edit: Of this layer: units, inputs (-1 for a bias) and new minus old values of the edited numbers.
            write: Make what is kept that of the network as it is.
        """
        row, count = self._row, len(self._labels)
        self._inputs.require(edit[1])
        if values is None:
            begin = int(row.widths[1 : first + 1].sum())
            values = kept.values[begin : begin + row.widths[first + 1]]
        losses, predictions = torch.empty(count, dtype=torch.float64), torch.empty(count, dtype=torch.int64)
        sound = self._compiled.finish(
            self._network.flat.numpy(), row.starts, row.widths, row.biases, row.rectified, first, values,
            self._inputs.columns, *edit, kept.values, write, self._labels.numpy(), losses.numpy(), predictions.numpy(),
        )  # fmt: skip
        return Evaluation(losses, predictions) if sound else None


@dataclass
class Kept:
    """What is kept of a network.

    Attributes:
        values: Pre-activations of all layers, those of a unit side by side (units of all, N).
        added: Edits added to the first layer's since they were computed from the images.
        shared: Whether another evaluator has them too.
    """

    values: Floats
    added: int = 0
    shared: bool = False

    def own(self) -> "Kept":
        """Return the same, or a copy where they are shared."""
        return Kept(self.values.copy(), self.added) if self.shared else self
