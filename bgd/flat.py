"""A private copy of a network whose parameters are views into one flat vector."""

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from bgd.layers import tamed
from bgd.parameters import ParameterSpace
from bgd.patch import Patch

SHARED_FROM = 1 << 24  # bytes of parameters from which a vector and its twin share memory


class NetworkError(ValueError):
    """The network is none that can be corrected as it is; the message says what to do."""


class FlatNetwork:
    """A copy of a network, changed through one vector.

    Writing `flat[indices] = values` edits the network; no tensor by tensor bookkeeping. A tensor of the copy, saved
    alone, takes the whole vector with it: `plain` gives a network to save or to ship.

    Args:
        network: Any; it is left as it is.
        device: Where the copy is.
        dtype: Of the copy's parameters and buffers; None for the network's own.

    Attributes:
        space: Flat index over the parameters.
        module: The copy, in eval mode.
        flat: All its parameters (|W|,), sharing their memory.

    Raises:
        NetworkError: The network cannot be copied, has no parameters, or has parameters of several types.
    """

    def __init__(
        self, network: nn.Module, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> None:
        _check_parameters(network)
        self.space = ParameterSpace.of(network)
        self.module = tamed(private_copy(network).to(device, dtype).eval())
        self._parameters = list(self.module.parameters())
        self.flat = torch.cat([p.detach().reshape(-1) for p in self._parameters])
        self._views = self._views_of(self.flat)
        self.link()

    def link(self) -> None:
        """Have every parameter share the vector's memory, wherever its values have been since."""
        for parameter, view in zip(self._parameters, self._views, strict=True):
            if not parameter.is_set_to(view):
                parameter.data = view

    def twin(self) -> torch.Tensor:
        """Return a vector with the same values (|W|,), apart from `flat`.

        Of a large network the two share memory, page by page, until one of them is written to: a patch of a few
        parameters takes a few pages more, not another network.
        """
        pair = _shared_pages(self.flat)
        if pair is None:
            return self.flat.clone()
        self.flat, other = pair
        self._views = self._views_of(self.flat)
        self.link()
        return other

    def _views_of(self, flat: torch.Tensor) -> list[torch.Tensor]:
        spans = zip(self.space.names, self.space.shapes, strict=True)
        return [flat[self.space.span(name)].view(shape) for name, shape in spans]

    def follow(self) -> bool:
        """Take values over into the vector that were written past it; return whether there were any.

        `parameter.data = ...`, `vector_to_parameters` and a parameter that is registered anew have the module hold its
        values in memory of their own.

        Raises:
            NetworkError: A parameter is gone, or has another shape or type.
        """
        now = dict(self.module.named_parameters())
        astray = [
            (name, view)
            for name, view in zip(self.space.names, self._views, strict=True)
            if name not in now or not now[name].is_set_to(view)
        ]
        for name, view in astray:
            if name not in now:
                raise NetworkError(
                    f"parameter {name} was taken out of the network: a patch holds changes of values alone"
                )
            if now[name].shape != view.shape or now[name].dtype != view.dtype:
                raise NetworkError(
                    f"parameter {name} was made {_kind(now[name])}, and is {_kind(view)} in the network that is to be "
                    "corrected: a patch holds changes of values alone"
                )
        for name, view in astray:
            view.copy_(now[name].detach())
        return bool(astray)

    def plain(self) -> nn.Module:
        """Return a copy of the network as it is, each tensor in memory of its own."""
        return private_copy(self.module)

    @contextmanager
    def patched(self, patch: Patch) -> Iterator[None]:
        """Apply a patch inside the block and revert it at the end."""
        patch.apply(self.flat)
        try:
            yield
        finally:
            patch.revert(self.flat)


def _shared_pages(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return two vectors with these values (n,), whose pages are one until they are written to.

    They are private maps of one file in memory, which Linux has. None where it cannot be, or is not worth it.
    """
    size = values.numel() * values.element_size()
    if values.device.type != "cpu" or size < SHARED_FROM or not hasattr(os, "memfd_create"):
        return None
    file = os.memfd_create("parameters")
    try:
        os.truncate(file, size)
        path = f"/proc/self/fd/{file}"
        if not os.path.exists(path):
            return None
        kind: dict[str, Any] = {"size": values.numel(), "dtype": values.dtype}
        torch.from_file(path, shared=True, **kind).copy_(values)
        return torch.from_file(path, shared=False, **kind), torch.from_file(path, shared=False, **kind)
    finally:
        os.close(file)


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def check_model(model: Any) -> None:
    """Refuse what is no model, or one whose parameters have no shapes yet or no plain values.

    Quantized weights of torchao and optimum-quanto are tensors of a class of their own, computed from others: what one
    writes into them is refused or lost.

    Raises:
        NetworkError: It says what it is.
    """
    if not isinstance(model, nn.Module):
        kind = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise NetworkError(f"the model is {kind}: an nn.Module is wanted, which gives logits (N, C)")
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise NetworkError(f"parameter {name} has no shape yet: run the network once before")
        own = type(parameter.detach())
        if own is not torch.Tensor or parameter.layout != torch.strided:
            found = f"a {own.__name__}" if own is not torch.Tensor else str(parameter.layout)
            raise NetworkError(
                f"parameter {name} is {found}, no plain dense tensor, whose values could be written: correct the "
                "network before its weights are quantized, sharded or made sparse, or make them dense"
            )


def _check_parameters(network: nn.Module) -> None:
    """Refuse a network whose parameters do not make one vector of numbers."""
    check_model(network)
    kinds: dict[torch.dtype, str] = {}
    for name, parameter in network.named_parameters():
        if parameter.is_meta:
            raise NetworkError(f"parameter {name} has no values, being on the meta device: load them before")
        if not parameter.is_floating_point():
            raise NetworkError(f"parameter {name} is {_kind(parameter)}: only real numbers can be corrected")
        kinds.setdefault(parameter.dtype, name)
    if not kinds:
        raise NetworkError(f"the network, a {type(network).__name__}, has no parameters: nothing can change")
    if len(kinds) > 1:
        found = " and ".join(f"{str(kind).removeprefix('torch.')} ({name})" for kind, name in kinds.items())
        raise NetworkError(
            f"the network has parameters of {found}: one type is needed, as network.float() gives"
        )


def private_copy(network: nn.Module) -> nn.Module:
    """Return a deep copy of a network, also where it keeps tensors that were computed from its parameters.

    `copy.deepcopy` refuses those. A buffer, and a tensor of a module with forward pre-hooks, which compute it anew at
    each pass (`torch.nn.utils.prune`, `torch.nn.utils.weight_norm`), is copied by value. Any other, such as the last
    output that a module keeps, is replaced by one that nothing may read before it is written: its value would be that
    of other parameters.

    Raises:
        NetworkError: Something in the network cannot be copied.
    """
    try:
        with _Copying(network):
            twin = copy.deepcopy(network)
    except (TypeError, RuntimeError) as error:
        raise NetworkError(
            f"the network, a {type(network).__name__}, cannot be copied: {error}. Take out of it whatever is neither a "
            "tensor nor plain data, or make it anew and load its state_dict()"
        ) from error
    for parameter in twin.parameters():
        if not parameter.is_leaf:  # as in copies of TorchScript
            parameter.detach_().requires_grad_()
    return twin


class _Copying(TorchFunctionMode):
    """Has `copy.deepcopy` copy tensors that are no leaves of the graph of gradients."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._by_value: set[int] = set()
        self._names: dict[int, str] = {}
        for place, module in network.named_modules():
            own = {key: value for key, value in vars(module).items() if isinstance(value, torch.Tensor)}
            self._names.update({id(value): f"{place}.{key}".lstrip(".") for key, value in own.items()})
            copied = [*module._buffers.values(), *(own.values() if module._forward_pre_hooks else ())]
            self._by_value.update(map(id, copied))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is not torch.Tensor.__deepcopy__ or args[0].is_leaf:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            by_value = id(tensor) in self._by_value
            name = self._names.get(id(tensor), "inside a list or dict of a module")
            memo[id(tensor)] = tensor.detach().clone() if by_value else _Unset.named(name)
        return memo[id(tensor)]


class _Unset(torch.Tensor):
    """Stands for a tensor that the network computes: whoever reads it is told so."""

    _name: str

    @classmethod
    def named(cls, name: str) -> "_Unset":
        unset = torch.empty(0).as_subclass(cls)
        unset._name = name
        return unset

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Unset":
        return self

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = next((vars(each)["_name"] for each in args if isinstance(each, cls)), "a tensor")
        raise NetworkError(
            f"the network reads {name!r}, a tensor that it computed from its parameters before: compute it in "
            "forward(), or make what is meant to be learnt an nn.Parameter"
        )
