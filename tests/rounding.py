"""A pretended processor: the same kernels, each product, sum and exponential off by a unit in the last place.

Real processors differ in the order of their sums and in the approximations of their exponentials, but only where it
happens to show. Here it always shows: an operation's results are moved up, down or not at all, as a hash of its
operands says. So the same operation on the same operands gives the same bits, as on any processor, and two different
ways to the same number give different ones. In a product of matrices that is so of each number of the result, by the
terms of its own sum: a term that is 0 changes nothing, nor does what another row or column holds.
"""

from functools import lru_cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WHOLE = {torch.float32: torch.int32, torch.float64: torch.int64}  # of as many bits
SPREAD = 0x9E3779B1  # odd: neighbouring numbers come far apart
PERIOD = 10_007  # of the ways that results are moved, by what their operands hash to
PRODUCTS = {
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "mv",
    "addmv",
    "dot",
    "vdot",
    "convolution",
    "convolution_backward",
}
MATRICES = {"mm", "addmm"}  # those of PRODUCTS whose terms are told apart
LOSSES = {
    *("_log_softmax", "_softmax", "_log_softmax_backward_data", "_softmax_backward_data", "logsumexp"),
    "nll_loss_forward",
}
FUNCTIONS = {"exp", "expm1", "log", "log1p", "sigmoid", "tanh"}
SUMS = {"sum", "mean", "cumsum", "norm", "linalg_vector_norm"}
SOLVERS = {
    *("_linalg_solve_ex", "_linalg_eigh", "_linalg_svd", "linalg_cholesky_ex", "linalg_qr", "linalg_lstsq"),
    "cholesky_solve",
}
ROUNDED = PRODUCTS | LOSSES | FUNCTIONS | SUMS | SOLVERS


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
        if name not in ROUNDED or is_rounded_once(name, *arguments):
            return operation(*arguments, **(options or {}))
        if name in MATRICES and all(
            each.layout == torch.strided and each.dtype in WHOLE for each in arguments
        ):
            key = self.seed + sums_of_terms(*arguments)
        else:
            key = self.seed + sum(
                (1 + place) * bits_of(each)
                for place, each in enumerate(operands)
                if isinstance(each, torch.Tensor)
            )
        found = operation(*arguments, **(options or {}))
        for each in found if isinstance(found, tuple) else (found,):
            if isinstance(each, torch.Tensor) and each.dtype in (torch.float32, torch.float64):
                move(each, key)
        return found


def is_rounded_once(name, operand, *others):
    """Whether every processor comes to the same: products and sums of one term, sums and means of whole numbers."""
    if not operand.is_floating_point():
        return True
    if name == "sum" and others and others[0] == [0] and len(operand) == 1:
        return True
    if name == "nll_loss_forward" and len(operand) == 1:
        return True
    if name in ("sum", "mean"):
        return bool((operand == operand.round()).all())
    return name == "mm" and operand.shape[1] == 1


def sums_of_terms(*operands):
    """Whole numbers (rows, columns): of the terms of each sum in a product, of its place and of the shape."""
    *added, left, right = map(small, operands)
    found = left @ right + sum(added)
    places = torch.arange(found.numel()).view(found.shape)
    return found.long() + places + sum(found.shape)


def small(values):
    """Whole numbers below 2^16, as float64, that the bits of values decide; 0 for 0."""
    whole = values.contiguous().view(WHOLE[values.dtype]).long()
    return torch.where(values == 0, 0, (whole * SPREAD >> 24) % (1 << 16)).double()


def bits_of(values):
    """A number that the values, their order included, decide."""
    if values.layout == torch.sparse_csr:
        values = values.values()
    whole = WHOLE.get(values.dtype)
    if whole is None:
        return values.numel()
    bits = values.contiguous().view(whole).reshape(-1)
    return int((bits * odd_numbers(len(bits))).sum())


def move(values, key):
    """Move each value by a unit in the last place, or not; whole numbers stay, for they are exact everywhere."""
    count, eps = values.numel(), torch.finfo(values.dtype).eps
    if isinstance(key, int):
        start = key % PERIOD
        moves = ways(PERIOD + count)[start : start + count]
    else:
        moves = ways(PERIOD)[key % PERIOD]
    factors = 1 + eps * moves.to(values.dtype)
    values.copy_(torch.where(values == values.round(), values, values * factors.view(values.shape)))


@lru_cache
def odd_numbers(count):
    """1, 3, 5, ..."""
    return 1 + 2 * torch.arange(count)


@lru_cache
def ways(count):
    """Down, not at all or up, drawn."""
    return torch.randint(-1, 2, (count,), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
