"""What models give back: a tensor, `.logits`, `["logits"]` or the first of a tuple, brought to one form."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bgd.errors import ConfigError, first_line
from bgd.flat import NetworkError, check_model, private_copy
from bgd.layers import tamed, unwrapped
from bgd.modes import ordinary

CLOSE = 1e-3  # relative difference of two passes over one input that rounding may make
ROUNDING = 16  # units in the last place, likewise, of a type of 16 bits


class InputError(ConfigError):
    """Inputs or classes are none that the model takes; the message says why."""


def logits_in(outputs: Any) -> Any:
    """Return the logits in a model's outputs; the outputs themselves where they have none."""
    if isinstance(outputs, torch.Tensor):
        return outputs
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return outputs["logits"]
    if hasattr(outputs, "logits"):
        return outputs.logits
    if isinstance(outputs, (tuple, list)) and outputs:
        return outputs[0]
    return outputs


@ordinary()
def readable(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor | None = None, where: str = "images"
) -> nn.Module:
    """Return a copy of a model, in eval mode, that gives logits alone.

    Args:
        model: Left as it is.
        images: Inputs (N, ...), of which the first is run to see what the model returns.
        labels: Their classes (N,), where they have any.
        where: What the inputs are called, for messages.

    Raises:
        NetworkError: The model cannot be copied, or its outputs for an input depend on the others.
        InputError: It does not take the inputs, or has no such classes.
    """
    check_model(model)
    check_inputs(images, labels, where)
    network = opened(private_copy(model).eval(), images[:1], where)
    with torch.no_grad():
        alone = logits_in(passed(network, images[:1], where))
    if len(images) > 1 and isinstance(alone, torch.Tensor) and alone.dim() == 2:
        check_alone(network, alone, images[:2])
    if labels is not None:
        classes = alone.shape[-1]
        if int(labels.max()) >= classes:
            raise InputError(
                f"{where}: a label is {int(labels.max())}, and the classes of the model are 0 to {classes - 1}"
            )
    return network


def check_inputs(images: Any, labels: Any, where: str) -> None:
    """Refuse what is no tensor of inputs, or no tensor of a class for each.

    Raises:
        InputError: It says what is wrong, and what is wanted.
    """
    if not isinstance(images, torch.Tensor) or not images.dim():
        raise InputError(
            f"{where} is a {type(images).__name__}: one tensor (N, ...) is wanted, as the model takes it; "
            "torch.cat makes it of batches, torch.from_numpy of an array"
        )
    if not len(images):
        raise InputError(f"{where} holds no input")
    if labels is None:
        return
    if not isinstance(labels, torch.Tensor):
        raise InputError(f"{where}: labels are a {type(labels).__name__}: torch.as_tensor(labels) is wanted")
    if labels.shape != (len(images),):
        raise InputError(
            f"{where}: labels of shape {tuple(labels.shape)} for {len(images)} images: a class index for each is "
            "wanted, as one_hot.argmax(1) gives"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(f"{where}: labels are {labels.dtype}: class indices are whole numbers from 0 on")
    if int(labels.min()) < 0:
        raise InputError(
            f"{where}: a label is {int(labels.min())}: class indices are whole numbers from 0 on"
        )


@torch.no_grad()
def opened(network: nn.Module, image: torch.Tensor, where: str = "x") -> nn.Module:
    """Have a private copy of a model give logits alone, from now on, and return it.

    Its class becomes one that is derived from its own, so that the names of its parameters and layers stay the model's.

    Args:
        network: In eval mode. It is run once.
        image: An input (1, ...) to see what it returns.
        where: What the input is called, for messages.

    Raises:
        InputError: It does not take the input, or gives one number for it.
    """
    outputs = passed(network, image, where)
    logits = logits_in(outputs)
    if isinstance(logits, torch.Tensor) and logits.dim() == 2 and logits.shape[1] == 1:
        raise InputError(
            "the model gives one number for an input, and classes are two or more: where it says no or yes, end it in "
            "torch.cat([torch.zeros_like(z), z], 1), without a sigmoid"
        )
    if not isinstance(outputs, torch.Tensor) and isinstance(logits, torch.Tensor):
        core = unwrapped(network)[1]
        core.__class__ = _derived(type(core))
    return tamed(network)


@torch.no_grad()
def check_alone(network: nn.Module, alone: torch.Tensor, images: torch.Tensor) -> None:
    """Refuse a network whose outputs for an input depend on the others that are passed with it.

    Args:
        network: In eval mode. One that does not take so many inputs at once is not looked at.
        alone: Its logits (1, C) for the first input alone.
        images: That input and others (N, ...).

    Raises:
        NetworkError: Its logits for the first are others there, by more than rounding.
    """
    try:
        together = logits_in(passed(network, images))
    except InputError:
        return
    if not isinstance(together, torch.Tensor) or together.shape != (len(images), alone.shape[1]):
        return  # no logits: said where they are read
    largest = float(alone.abs().max().nan_to_num(0, 0, 0))
    close = max(CLOSE, ROUNDING * torch.finfo(alone.dtype).eps)
    if not torch.allclose(alone[0], together[0], close, close * largest, equal_nan=True):
        raise NetworkError(
            "in eval mode the model gives other outputs for an input alone than beside others, as with a BatchNorm "
            "without running statistics: a change of its parameters could not be told from that"
        )


def passed(network: nn.Module, image: torch.Tensor, where: str = "x") -> Any:
    """Return what a network gives for a copy of an input (1, ...), in its own form.

    Raises:
        InputError: It does not take the input.
        NetworkError: It reads what a copy of it cannot have.
    """
    core = unwrapped(network)[1]
    try:
        return core.packed(image.clone()) if isinstance(core, Logits) else network(image.clone())
    except NetworkError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        kind = str(image.dtype).removeprefix("torch.")
        raise InputError(
            f"{where}: the model, a {type(network).__name__}, does not take an input of shape {tuple(image.shape)}, "
            f"{kind} on {image.device}: {first_line(error)}"
        ) from error


def _derived(kind: type) -> type:
    return type(kind.__name__, (Logits, kind), {"__module__": __name__})


class Logits:
    """What a class derived from a model's has before it: a call gives logits alone, `packed` what they come in."""

    def __call__(self, *inputs: Any) -> Any:
        """Run the model and take the logits out of what it gives."""
        return logits_in(self.packed(*inputs))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy the model as its own class does, which may make another class for the copy, as that of torch.fx."""
        kind = type(self)
        self.__class__ = kind.__bases__[1]
        try:
            twin = copy.deepcopy(self, memo)
        finally:
            self.__class__ = kind
        twin.__class__ = _derived(type(twin))
        return twin

    def packed(self, *inputs: Any) -> Any:
        """Run the model as it is."""
        return super().__call__(*inputs)  # type: ignore[misc]  # the model's
