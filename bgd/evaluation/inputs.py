"""The images as the first layer of a small network takes them: some pixels of all images, and products with all.

Most pixels of most images have one value, the background's. Products run over the others alone where they are few.
"""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

SPARSE = 0.4  # share of values beside the background up to which a product over them alone is the quicker one
LINE = (
    4  # columns filled in together: more would cost no more time, and memory for those that nobody asks for
)
AT_ONCE = 2048  # images whose other values are looked for together


class Inputs:
    """Inputs of a layer, float32 on the CPU.

    Args:
        values: Of each image (N, J). Where they lie in memory input by input, no copy is needed.

    Attributes:
        columns: The same input by input (J, N); what `require` was not asked for has anything in it.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values
        by_input = values.t().is_contiguous()
        # Memory is taken by what is written alone.
        self.columns = values.t().numpy() if by_input else np.empty(values.shape[::-1], np.float32)
        self._there = np.full(values.shape[1], by_input)
        self._split: tuple[float, torch.Tensor | None] | None = None

    def require(self, columns: NDArray[np.int64]) -> None:
        """Fill in some columns (k,), and those that lie in memory beside them; numbers below 0 stand for none."""
        wanted = columns[columns >= 0]
        for first in np.unique(wanted[~self._there[wanted]] // LINE * LINE):
            line = slice(first, first + LINE)
            torch.from_numpy(self.columns[line]).copy_(self._values[:, line].t())
            self._there[line] = True

    def product(self, weight: torch.Tensor) -> torch.Tensor:
        """Return weights (U, J) times all inputs: (U, N)."""
        return weight @ self._values.t()

    def one_of_many(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the same to rounding, sooner where the background is large; the first takes as long as six products.

        Which of the two ways is taken depends on the images alone, so a product does not depend on those before it.
        """
        if self._split is None:
            self._split = _split(self._values)
        background, others = self._split
        if others is None:
            return self.product(weight)
        product = (others @ weight.t().contiguous()).t().contiguous()
        return product.add_(weight.sum(1, dtype=torch.float64).mul_(background).float()[:, None])


def _split(values: torch.Tensor) -> tuple[float, torch.Tensor | None]:
    """Return the most frequent value of the first image, and by how much all (N, J) differ from it, as sparse rows.

    None where too many do.
    """
    kinds, counts = values[0].unique(return_counts=True)
    background = kinds[counts.argmax()]
    blocks = values.split(AT_ONCE)
    numbers = torch.cat([torch.count_nonzero(block.contiguous() != background, 1) for block in blocks])
    total = int(numbers.sum())
    if not total <= SPARSE * values.numel() or not torch.isfinite(background):
        return 0.0, None
    starts = torch.cat([numbers.new_zeros(1), numbers.cumsum(0)]).int()
    where, what = torch.empty(total, dtype=torch.int32), torch.empty(total)
    at = 0
    for block in map(torch.Tensor.contiguous, blocks):
        there = (block != background).nonzero(as_tuple=True)
        span = slice(at, at := at + len(there[0]))
        where[span], what[span] = there[1], block[there] - background
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that torch's sparse rows are new
        return float(background), torch.sparse_csr_tensor(starts, where, what, values.shape)
