"""A pretended processor: the same kernels, each product, sum and exponential off by a unit in the last place.

Real processors differ in the order of their sums and in the approximations of their exponentials, but only where it
happens to show. Here it always shows: an operation's results are moved up, down or not at all, as a hash of its
operands says. So the same operation on the same operands gives the same bits, as on any processor, and two different
ways to the same number give different ones.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

MIXED = 0x2545F4914F6CDD1D  # an odd number: multiplying by it permutes the integers of 64 bits
ROUNDED = frozenset(
    "mm addmm bmm baddbmm mv addmv dot vdot convolution convolution_backward _log_softmax _softmax "
    "_log_softmax_backward_data _softmax_backward_data nll_loss_forward logsumexp exp log log1p expm1 sigmoid tanh "
    "sum mean cumsum norm linalg_vector_norm _linalg_solve_ex linalg_cholesky_ex linalg_eigh _linalg_eigh "
    "linalg_qr _linalg_svd cholesky_solve linalg_lstsq".split()
)


class OtherRounding(TorchDispatchMode):
    """Runs every operation, and moves the floats of those that processors round differently.

    Args:
        seed: Of the processor that is pretended.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        operands = [*arguments, *(options or {}).values()]
        name = operation.overloadpacket.__name__
        if name not in ROUNDED or (name == "mm" and arguments[0].shape[1] == 1):  # one term: rounded once, anywhere
            return operation(*arguments, **(options or {}))
        key = self.seed + sum(
            (1 + place) * bits_of(each) for place, each in enumerate(operands) if isinstance(each, torch.Tensor)
        )
        found = operation(*arguments, **(options or {}))
        for each in found if isinstance(found, tuple) else (found,):
            if isinstance(each, torch.Tensor) and each.dtype in (torch.float32, torch.float64):
                move(each, key)
        return found


def bits_of(values):
    """A number that the values, their order included, decide."""
    whole = {4: torch.int32, 8: torch.int64}.get(values.element_size())
    if whole is None or not values.is_floating_point():
        return values.numel()
    bits = values.contiguous().view(whole).reshape(-1).to(torch.int64)
    return int((bits * (1 + 2 * torch.arange(len(bits)))).sum())


def move(values, key):
    """Move each value by one unit in the last place, or not; whole numbers stay, for they are exact everywhere."""
    places = torch.arange(values.numel()).view(values.shape)
    drawn = (places * 2 + 1 + key % (1 << 40)) * MIXED
    way = (drawn >> 40).remainder(3).sub(1).to(values.dtype)  # down, not at all, up
    inexact = torch.isfinite(values) & (values != values.round())
    moved = torch.nextafter(values, values + way.sign() * values.abs().clamp(min=1e-30))
    values.copy_(torch.where(inexact & (way != 0), moved, values))
