"""A network in the arithmetics where it has to hold: each made once, then changed tensor by tensor."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from bgd.arithmetic.exported import Exported
from bgd.arithmetic.twin import TF32, Quantized, Runtime, Twin
from bgd.errors import ConfigError, nearest
from bgd.flat import FlatNetwork
from bgd.outputs import logits_in as logits_of
from bgd.patch import Patch

Others = Mapping[str, Runtime]  # of the same network, made before
ARITHMETICS: Mapping[str, Callable[[nn.Module, torch.Tensor, Others], Runtime]] = MappingProxyType(
    {  # what is quick to ask comes first
        "float32": lambda network, image, others: Twin(network, torch.float32, "float32"),
        "tf32": lambda network, image, others: TF32(network),
        "bfloat16": lambda network, image, others: Twin(network, torch.bfloat16, "bfloat16"),
        "float16": lambda network, image, others: Twin(network, torch.float16, "float16"),
        "int8": lambda network, image, others: Quantized(network),
        "onnxruntime": lambda network, image, others: Exported(network, image, False, _export_in(others)),
        "onnxruntime_int8": lambda network, image, others: Exported(network, image, True, _export_in(others)),
    }
)
EIGHT_BITS = ("int8", "onnxruntime_int8")  # one scale for all weights of a tensor


def logits_in(arithmetic: str, network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return the logits (N, C) of a network as it computes in an arithmetic.

    Args:
        arithmetic: One of `ARITHMETICS`. `float32`: a copy in float32. `bfloat16`, `float16`: a copy in that type, its
            inputs too. `tf32`: factors of products with 10 bits of mantissa, by the card, or emulated on the CPU.
            `int8`: torch's dynamic quantization of `nn.Linear`, one scale a tensor, on the CPU. `onnxruntime`: exported
            and run by ONNX Runtime on the CPU, each input alone; `onnxruntime_int8`: by its dynamic quantization.
        network: A classifier, in eval mode. It is left as it is.
        inputs: (N, ...), as the network takes them. In `int8` the scale of what goes into a layer is that of all of
            them together: give one input for what a service that runs one at a time computes.

    Raises:
        ConfigError: There is no such arithmetic.
        UnavailableError: A package is missing, or the network does not run in it.
    """
    runtime = _made(arithmetic, network, inputs[:1], {})
    logits: torch.Tensor = logits_of(runtime.outputs(inputs))
    return logits


def _made(arithmetic: str, network: nn.Module, image: torch.Tensor, others: Others) -> Runtime:
    if arithmetic not in ARITHMETICS:
        raise ConfigError(
            f"arithmetic={arithmetic!r}: no such arithmetic; {nearest(arithmetic, ARITHMETICS)}"
        )
    return ARITHMETICS[arithmetic](network, image, others)


def _export_in(others: Others) -> Exported | None:
    """Return one that has the network exported, which takes seconds; None where there is none."""
    return next((each for each in others.values() if isinstance(each, Exported)), None)


class Elsewhere:
    """A network as it computes in other arithmetics, whatever patches it gets.

    Args:
        network: Read whenever its logits are asked for; whoever writes to it says so by `touch`.
    """

    def __init__(self, network: FlatNetwork) -> None:
        self._network = network
        self._runtimes: dict[str, Runtime] = {}
        self._stale: dict[str, set[str]] = {}

    def outputs(self, arithmetic: str, inputs: torch.Tensor) -> Any:
        """Return the outputs of the network as it is for inputs (N, ...), in the model's own form.

        Raises:
            ConfigError: There is no such arithmetic.
            UnavailableError: A package is missing, or the network does not run in it.
        """
        if arithmetic not in self._runtimes:
            module = self._network.module
            self._runtimes[arithmetic] = _made(arithmetic, module, inputs[:1], self._runtimes)
            self._stale[arithmetic] = set()
        runtime, stale, space = self._runtimes[arithmetic], self._stale[arithmetic], self._network.space
        for name in sorted(stale):
            values = self._network.flat[space.span(name)].view(space.shapes[space.names.index(name)])
            runtime.write(name, values)
        stale.clear()
        return runtime.outputs(inputs)

    def touch(self, names: Collection[str]) -> None:
        """Say which parameters of the network were written to."""
        for stale in self._stale.values():
            stale.update(names)

    @contextmanager
    def patched(self, patch: Patch) -> Iterator[None]:
        """Apply a patch to the network inside the block and revert it at the end."""
        with self._network.patched(patch):
            self.touch(patch.tensors)
            yield
        self.touch(patch.tensors)


def growth(patch: Patch, flat: torch.Tensor) -> dict[str, float]:
    """Return how many times larger the largest weight of each changed tensor of weights becomes.

    With one scale a tensor, 8 bits resolve every other weight so many times more coarsely.

    Args:
        patch: The change.
        flat: All parameters before it (|W|,).
    """
    found = {}
    for part in patch.parts():
        if len(part.shape) > 1:
            before = flat[patch.space.span(part.name)]
            after = before.clone()
            after[part.indices] = part.new
            found[part.name] = float(after.abs().max()) / max(float(before.abs().max()), 1e-30)
    return found
