"""A network's twin in another arithmetic of torch: another type, rounded factors, or 8 bits."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from bgd.errors import ConfigError, first_line
from bgd.flat import private_copy
from bgd.layers import unwrapped
from bgd.modes import Watch
from bgd.outputs import Logits

KEPT = ~((1 << 13) - 1)  # bits of a float32 that TF32 has: 10 of the 23 of its mantissa, all others
HALF = 1 << 12  # of the last bit that TF32 has
PRODUCTS = {  # where a card may round the factors to TF32; the places of these among the arguments
    "addmm": (1, 2),
    "addbmm": (1, 2),
    "baddbmm": (1, 2),
    "bmm": (0, 1),
    "convolution": (0, 1),
    "mm": (0, 1),
    "mv": (0, 1),
}


class UnavailableError(ConfigError):
    """A network cannot be run in an arithmetic, here or at all; the message says why."""


class Runtime(Protocol):
    """A network in one arithmetic."""

    def write(self, name: str, values: torch.Tensor) -> None:
        """Take over the values of a parameter of the network, in its shape."""
        ...

    def outputs(self, inputs: torch.Tensor) -> Any:
        """Return the outputs for inputs (N, ...), in the model's own form."""
        ...


class Twin:
    """A copy of a network in a type of floating-point numbers; its inputs are rounded to that type, too.

    Args:
        network: Left as it is. A copy of it is run where it is.
        dtype: Of parameters, buffers and inputs.
        arithmetic: Its name, for messages.

    Raises:
        UnavailableError: The copy does not run in that type.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, arithmetic: str) -> None:
        self._network = private_copy(network).to(dtype).eval()
        self._parameters = dict(self._network.named_parameters())
        self._dtype, self._arithmetic = dtype, arithmetic

    @torch.no_grad()
    def write(self, name: str, values: torch.Tensor) -> None:
        """Round a parameter to the type; see `Runtime.write`."""
        self._parameters[name].copy_(values)

    @torch.no_grad()
    def outputs(self, inputs: torch.Tensor) -> Any:
        """Run the copy; see `Runtime.outputs`."""
        own = next(iter(self._parameters.values()))
        given = inputs.to(own.device, self._dtype if inputs.is_floating_point() else inputs.dtype, copy=True)
        with refused(self._arithmetic):
            return self._run(given)

    def _run(self, inputs: torch.Tensor) -> Any:
        core = unwrapped(self._network)[1]
        return core.packed(inputs) if isinstance(core, Logits) else self._network(inputs)


class TF32(Twin):
    """A float32 network whose products are of factors with 10 bits of mantissa: by the card, or emulated on the CPU.

    The emulation rounds both factors of every product of matrices and of every convolution to the nearest, ties away
    from 0, and sums in float32. Fused attention is not among them. A card chooses for itself where it uses TF32.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, torch.float32, "tf32")
        self._on_card = next(network.parameters()).is_cuda

    def _run(self, inputs: torch.Tensor) -> Any:
        with _allowed() if self._on_card else _Rounded():  # type: ignore[no-untyped-call]
            return super()._run(inputs)


@contextmanager
def _allowed() -> Iterator[None]:
    """Let the card use TF32 inside the block.

    Torch has older switches and newer ones that write to each other in part; the newer ones decide.
    """
    switches = [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn]  # type: ignore[attr-defined]
    before = [each.fp32_precision for each in switches]
    try:
        for each in switches:
            each.fp32_precision = "tf32"
        yield
    finally:
        for each, precision in zip(switches, before, strict=True):
            each.fp32_precision = precision


class _Rounded(Watch):  # type: ignore[no-untyped-call]
    """Rounds the factors of products to TF32, below autograd, where every product is one of a few operations."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        places = PRODUCTS.get(func.overloadpacket.__name__, ())
        rounded = [rounded_to_tf32(each) if place in places else each for place, each in enumerate(args)]
        return func(*rounded, **(kwargs or {}))


def rounded_to_tf32(values: torch.Tensor) -> torch.Tensor:
    """Return float32 values rounded to the nearest that TF32 has, ties away from 0; others as they are."""
    if values.dtype != torch.float32:
        return values
    near = ((values.contiguous().view(torch.int32) + HALF) & KEPT).view(torch.float32)
    return torch.where(torch.isfinite(values), near, values)


class Quantized(Twin):
    """Dynamic quantization by torch: `nn.Linear` with weights of 8 bits, one scale a tensor, on the CPU.

    The scale of a layer's inputs is taken from the batch as it is. Other layers stay float32, as they do in service.

    Raises:
        UnavailableError: The network has no such layer, or torch has no kernels for this machine.
    """

    def __init__(self, network: nn.Module) -> None:
        whole = nn.Sequential(
            private_copy(network).to("cpu")
        )  # a network may be one layer, which is replaced
        super().__init__(whole, torch.float32, "int8")
        self._own = {name.removeprefix("0."): each for name, each in self._parameters.items()}
        modules = self._network.named_modules()
        self._linears = {path: module for path, module in modules if type(module) is nn.Linear}
        if not self._linears:
            raise UnavailableError("int8: torch quantizes layers of nn.Linear, and the network has none")
        for path in self._linears:
            self._quantize(path)

    def write(self, name: str, values: torch.Tensor) -> None:
        """Write a parameter and quantize the layer that it is of anew; see `Runtime.write`."""
        parameter = self._own[name]
        with torch.no_grad():
            parameter.copy_(values)
        for path, linear in self._linears.items():
            if any(each is parameter for each in linear.parameters()):
                self._quantize(path)

    def _quantize(self, path: str) -> None:
        linear = self._linears[path]
        with refused(self._arithmetic), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.ao.quantization says that it is to move
            from torch.ao.nn.quantized.dynamic import Linear
            from torch.ao.quantization import default_dynamic_qconfig

            linear.qconfig = default_dynamic_qconfig  # type: ignore[assignment]  # no parameter or module
            quantized = Linear.from_float(linear)  # type: ignore[no-untyped-call]
        parent, _, last = path.rpartition(".")
        setattr(self._network.get_submodule(parent), last, quantized)

    def _run(self, inputs: torch.Tensor) -> Any:
        core = unwrapped(self._network.get_submodule("0"))[1]
        return core.packed(inputs) if isinstance(core, Logits) else self._network(inputs)


@contextmanager
def refused(arithmetic: str) -> Iterator[None]:
    """Say of an error inside the block which arithmetic it is of.

    Raises:
        UnavailableError: In place of the error.
    """
    try:
        yield
    except ConfigError:
        raise
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise UnavailableError(
            f"{arithmetic}: the network does not run in it: {first_line(error)}"
        ) from error
