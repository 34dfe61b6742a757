"""A card that is not there: its tensors lie in main memory, bear a mark, and may meet others only as CUDA allows.

Inside `pretended_card()` the device `cuda` can be used as if there were one: `zeros(3, device="cuda")`,
`network.to("cuda")`, `x.device`. Everything is computed by the CPU, so values and control flow are right. An operation
that a real card refuses raises here too: tensors of both devices in one operation, `numpy()` of a tensor on the card,
and what has no deterministic algorithm there. `tests/test_devices.py` holds the rules to those of a real card, where
there is one.

A mark is kept on the storage, so that views and parameters that share memory share it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CARD, CPU = torch.device("cuda", 0), torch.device("cpu")

# What `torch.use_deterministic_algorithms(True)` refuses on CUDA, as far as an image classifier may come across it.
# Which operations those are depends on the version of torch: here are those of any.
NOT_DETERMINISTIC = {
    "kthvalue", "histc", "put_", "mode", "_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward",
    "grid_sampler_2d_backward", "reflection_pad2d_backward", "upsample_bilinear2d_backward", "max_unpool2d",
    "nll_loss2d_forward", "avg_pool3d_backward", "_ctc_loss_backward",
}  # fmt: skip
WRITES_INDICES = {"index", "index_put", "index_put_", "_index_put_impl_"}
ANY_DEVICE = {"copy_", "set_", "is_same_size", "_has_compatible_shallow_copy_type"}
# Take a number on the CPU beside tensors on the card, though they are not tagged as pointwise.
WITH_A_NUMBER = {"fill_", "fill", "masked_fill", "masked_fill_", "index_fill", "index_fill_", "lerp", "lerp_"}


class DeviceMix(RuntimeError):
    """An operation that a real card refuses."""


def on_card(tensor: torch.Tensor) -> bool:
    """Whether a tensor bears the mark."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return bool(getattr(_storage(tensor), "on_card", False))


def _mark(tensor: torch.Tensor, card: bool) -> torch.Tensor:
    _storage(tensor).on_card = card
    return tensor


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage:
    """A tensor's storage; of sparse rows that of their values, since they have none of their own."""
    return (tensor.values() if tensor.layout is torch.sparse_csr else tensor).untyped_storage()


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _is_card(device: object) -> bool:
    return torch.device(device).type == "cuda"


def _mixed(operation: object) -> DeviceMix:
    return DeviceMix(f"Expected all tensors to be on the same device, found cuda:0 and cpu: {operation}")


class _Operations(TorchDispatchMode):
    """Sees every operation, also those of backward passes; marks what comes out."""

    # Whether the function at work was given tensors on the card: what it makes from nothing is there, too.
    inside = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = list(_tensors((args, kwargs)))
        name = func._schema.name.removeprefix("aten::")
        anew = not given or name == "lift_fresh"  # out of Python's numbers, such as a list of indices
        card = self.inside if anew else _place(func, name, args, kwargs, given)
        if card:
            _refuse_nondeterminism(func, name, args, kwargs, given)
        result = func(*args, **kwargs)
        if card:
            known = {id(tensor) for tensor in given}
            for tensor in _tensors(result):
                if anew or (id(tensor) not in known and not func.is_view):
                    _mark(tensor, True)
        return result


def _place(func, name: str, args: tuple, kwargs: dict, given: list[torch.Tensor]) -> bool:
    """Return whether an operation's result is on the card; refuse it where a real card would."""
    marks = [on_card(tensor) for tensor in given]
    if not any(marks):
        return False
    if all(marks):
        return True
    if name in ANY_DEVICE:
        return marks[0]
    if name in WRITES_INDICES:
        _check_indexing(func, args)
        return on_card(args[0])
    numbers = [tensor for tensor, mark in zip(given, marks, strict=True) if not mark]
    few = len(numbers) == 1 or name == "where"
    by_number = torch.Tag.pointwise in func.tags or name in WITH_A_NUMBER or name == "where"
    if not (by_number and few and all(tensor.dim() == 0 for tensor in numbers)):
        raise _mixed(func)
    written = [
        value
        for argument, value in zip(func._schema.arguments, args, strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    if any(not on_card(tensor) for tensor in _tensors([*written, kwargs.get("out")])):
        raise _mixed(func)
    return True


def _check_indexing(func, args: tuple) -> None:
    """Indices may be on the CPU for values on the card, and not the other way round; a single value may be anywhere."""
    own = on_card(args[0])
    if not own and any(on_card(index) for index in _tensors(args[1])):
        raise DeviceMix(
            f"indices should be either on cpu or on the same device as the indexed tensor (cpu): {func}"
        )
    for value in _tensors(args[2:]):
        if on_card(value) != own and value.dim():
            raise _mixed(func)


def _refuse_nondeterminism(func, name: str, args: tuple, kwargs: dict, given: list[torch.Tensor]) -> None:
    refused = name in NOT_DETERMINISTIC
    refused |= name in ("cumsum", "cumsum_") and given[0].is_floating_point()
    refused |= name == "bincount" and len(given) > 1
    refused |= name == "median" and func._overloadname.startswith("dim")
    if refused:
        raise DeviceMix(f"{name} does not have a deterministic implementation on CUDA: {func}")


class _Functions(TorchFunctionMode):
    """Sees every function of torch's: answers for the device of a tensor, and puts tensors where they are asked for."""

    def __init__(self, operations: _Operations) -> None:
        super().__init__()
        self._operations = operations
        plain = torch.Tensor
        self._own = {
            plain.device.__get__: lambda x: CARD if on_card(x) else CPU,
            plain.is_cuda.__get__: on_card,
            plain.is_cpu.__get__: lambda x: not on_card(x),
            plain.get_device: lambda x: 0 if on_card(x) else -1,
            plain.cpu: lambda x, **_: _moved(x, False),
            plain.cuda: lambda x, *_, **__: _moved(x, True),
            plain.to: _to,
            plain.numpy: _numpy,
            plain.__array__: _array,
            plain.grad.__set__: _set_grad,
            plain.__deepcopy__: _deepcopy,
            torch.as_tensor: _as_tensor,
        }

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        own = self._own.get(func)
        if own is not None:
            return own(*args, **kwargs)
        device = kwargs.pop("device", None)
        of_a_list = func is torch.tensor and not isinstance(args[0], torch.Tensor)
        given = () if of_a_list else _tensors((args, kwargs))
        before, self._operations.inside = self._operations.inside, any(map(on_card, given))
        try:
            result = func(*args, **kwargs)
        finally:
            inside, self._operations.inside = self._operations.inside, before
        if device is not None or func in (torch.tensor, torch.Tensor.new_tensor):
            _mark(result, inside if device is None else _is_card(device))
        return result


def _moved(tensor: torch.Tensor, card: bool) -> torch.Tensor:
    return tensor if on_card(tensor) == card else _mark(tensor.clone(), card)


def _to(tensor: torch.Tensor, *args, **kwargs) -> torch.Tensor:
    """`Tensor.to`: (device, dtype), (dtype) or (other)."""
    values, device = list(args), kwargs.pop("device", None)
    other = kwargs.pop("other", None)
    if values and isinstance(values[0], torch.Tensor):
        other = values.pop(0)
    if other is not None:
        device, kwargs["dtype"] = (CARD if on_card(other) else CPU), other.dtype
    elif values and isinstance(values[0], (str, torch.device, int)):
        device, values[0] = values[0], None
    result = tensor.to(*values, **kwargs)
    return result if device is None else _moved(result, _is_card(device))


def _numpy(tensor: torch.Tensor, **options):
    if on_card(tensor):
        raise DeviceMix("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
    return tensor.numpy(**options)


def _array(tensor: torch.Tensor, dtype: object = None):
    values = _numpy(tensor)
    return values if dtype is None else values.astype(dtype, copy=False)


def _set_grad(tensor: torch.Tensor, grad: torch.Tensor | None) -> None:
    if grad is not None and on_card(grad) != on_card(tensor):
        raise DeviceMix("assigned grad has data located on a different device")
    tensor.grad = grad


def _deepcopy(tensor: torch.Tensor, memo: dict) -> torch.Tensor:
    return memo.setdefault(id(tensor), _mark(torch.Tensor.__deepcopy__(tensor, memo), on_card(tensor)))


def _as_tensor(data: object, *args, device: object = None, **kwargs) -> torch.Tensor:
    result = torch.as_tensor(data, *args, **kwargs)
    return result if device is None else _moved(result, _is_card(device))


@contextmanager
def pretended_card() -> Iterator[None]:
    """Have a card inside the block."""
    operations = _Operations()
    with operations, _Functions(operations):
        yield


def devices_of(values: Iterable[torch.Tensor]) -> set[str]:
    """Return the types of the devices that tensors are on; for use inside `pretended_card()`."""
    return {tensor.device.type for tensor in values}
