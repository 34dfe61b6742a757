"""One labelled image, and what a network says of it: logits of one row, or an error that says what came instead."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bgd.modes import ordinary_tensor
from bgd.outputs import InputError

ROUNDING = 4  # units in the last place of each class by which probabilities may miss a sum of 1


class SampleError(InputError):
    """A sample, or what a network makes of it, is none that a correction can start from; the message says why."""


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        index: A number of its own among the samples of a run; random streams and messages go by it.
        image: Any input (1, ...) that the network takes.
        label: The right class, int64 (1,). Any whole number is taken, as a tensor of any shape or as an `int`.
        offset: Added to the network's logits (C,) before they are judged, of the network's type; None for nothing.
            Below 0 at the label it asks for a margin, far below 0 at another class it takes that class out of the
            running: every goal comes down to a label and an offset (`bgd.goals`).
        growth: How many times as large the largest weight of a tensor may become, for networks whose weights of a
            tensor share one scale of 8 bits; None for no bound. A method may leave it out: `bgd.reach` looks at what
            comes of it.

    Raises:
        SampleError: It is no single image, or the label is no single class index from 0 on.
    """

    index: int
    image: torch.Tensor
    label: torch.Tensor
    offset: torch.Tensor | None = None
    growth: float | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.image.shape)
        if not shape or shape[0] != 1:
            raise SampleError(
                f"sample {self.index}: image of shape {shape} is not one image (1, ...): give image[None], or a Sample "
                "for each of several images"
            )
        try:
            label = _class_index(self.label, self.image.device)
        except SampleError as error:
            raise SampleError(f"sample {self.index}: {error}") from None
        object.__setattr__(self, "image", ordinary_tensor(self.image).detach())
        object.__setattr__(self, "label", ordinary_tensor(label))

    def judged(self, logits: torch.Tensor) -> torch.Tensor:
        """Return logits (..., C) as they are judged."""
        return logits if self.offset is None else logits + self.offset.to(logits.dtype)


def _class_index(label: Any, device: torch.device) -> torch.Tensor:
    """Return a label as int64 (1,)."""
    given = torch.as_tensor(label, device=device)
    if given.numel() != 1:
        raise SampleError(
            f"label of shape {tuple(given.shape)}: one class index is wanted; a one-hot label gives it as "
            "label.argmax()"
        )
    if given.dtype == torch.bool or given.is_floating_point() or given.is_complex():
        kind = str(given.dtype).removeprefix("torch.")
        raise SampleError(
            f"label={given.item()} is {kind}: a class index is a whole number, as int(label) gives"
        )
    if given < 0:
        raise SampleError(f"label={int(given)}: a class index is 0 or more")
    return given.reshape(1).to(torch.int64)


@dataclass(frozen=True)
class Answer:
    """What a network says of one sample.

    Attributes:
        loss: Cross-entropy in nats; infinite or NaN where the outputs are.
        prediction: The class with the largest logit.
        right: Whether that is the label and every logit is finite. An overflow is never a correction.

    All three are of the logits as they are judged, with the sample's offset.
    """

    loss: float
    prediction: int
    right: bool

    @classmethod
    def of(cls, logits: torch.Tensor, sample: Sample) -> "Answer":
        """Read the logits (1, C) of a sample."""
        logits = sample.judged(logits)
        loss = float(F.cross_entropy(logits, sample.label))
        prediction = int(logits.argmax())
        finite = float(logits.abs().max()) < math.inf  # also where one is NaN
        return cls(loss, prediction, finite and prediction == int(sample.label))


def checked_image(sample: Sample, parameters: torch.Tensor) -> torch.Tensor:
    """Return a sample's image where it has the type and device of a network's parameters; whole numbers have none.

    Raises:
        SampleError: It has another.
    """
    image = sample.image
    other_type = image.is_floating_point() and image.dtype != parameters.dtype
    if other_type or image.device != parameters.device:
        wanted = f"{str(parameters.dtype).removeprefix('torch.')} on {parameters.device}"
        raise SampleError(
            f"sample {sample.index}: its image is {str(image.dtype).removeprefix('torch.')} on {image.device}, the "
            f"network {wanted}: give image.to({str(parameters.device)!r}, {parameters.dtype})"
        )
    return image


def checked_logits(network: nn.Module, outputs: Any, sample: Sample, last: str = "") -> torch.Tensor:
    """Return a network's outputs for a sample where they are logits (1, C) of classes among which its label is.

    Log-probabilities are logits too. Probabilities are not: their cross-entropy is that of a second softmax. They are
    told by what they are, not negative with a sum of 1, and by the last operation.

    Args:
        network: The network, for messages.
        outputs: What it gives.
        sample: The sample.
        last: Name of the operation that the outputs come out of, see `bgd.methods.ending`; empty for unknown.

    Raises:
        SampleError: They are something else.
    """
    if not isinstance(outputs, torch.Tensor):
        raise SampleError(
            f"the network gives a {type(outputs).__name__}, not a tensor of logits (1, C): wrap it in a module whose "
            "forward() returns the logits alone"
        )
    if outputs.dim() != 2 or len(outputs) != 1:
        raise SampleError(
            f"the network gives outputs of shape {tuple(outputs.shape)} for sample {sample.index}, not logits (1, C): "
            "a correction is of a classifier, one image at a time"
        )
    if int(sample.label) >= outputs.shape[1]:
        classes = outputs.shape[1]
        raise SampleError(
            f"sample {sample.index}: label={int(sample.label)}, and the classes of the network are 0 to {classes - 1}"
        )
    if "sigmoid" in last and "log" not in last:
        raise SampleError(_not_logits(network, "Sigmoid"))
    if ("softmax" in last and "log" not in last) or _are_probabilities(outputs.detach()):
        raise SampleError(_not_logits(network, "Softmax"))
    return outputs.detach()


def _are_probabilities(outputs: torch.Tensor) -> bool:
    tolerance = ROUNDING * outputs.shape[1] * torch.finfo(outputs.dtype).eps
    return float(outputs.min()) >= 0 and abs(float(outputs.double().sum()) - 1) <= tolerance


def _not_logits(network: nn.Module, kind: str) -> str:
    """Say which layer gives the outputs, if one does, and the remedy."""
    layers = [name for name, module in network.named_modules() if type(module).__name__ == kind]
    by = (
        f"layer {layers[-1]!r}, {kind}"
        if layers
        else f"a {kind.lower()} in {type(network).__name__}.forward()"
    )
    return f"the network's outputs are probabilities, out of {by}: correct the network without it, which gives logits"
