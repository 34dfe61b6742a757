"""What differs between two vectors, compiled by numba: one look to count, one to write down.

torch makes a mask, then indices, then takes values twice: five times as long.
"""

from typing import Any

import numpy as np

from bgd.compiling import compiled

Array = np.ndarray[Any, np.dtype[Any]]
BLOCK = 64  # numbers that are looked at together: most often none of them differs, or all do


def differing(before: Array, after: Array) -> tuple[Array, Array, Array]:
    """Return where numbers (n,) differ, ascending, int64 (k,), and the values before and after there (k,).

    NaN with the same bits does not differ, nor does 0 from -0.
    """
    whole = np.dtype(f"i{before.itemsize}")
    counts = np.empty(-(-len(before) // BLOCK), np.uint8)
    total = _count(before, after, before.view(whole), after.view(whole), counts)
    # numpy's memory, of large pages, is there in a fifth of the time that numba's takes; one place more than is needed,
    # so that each is written without a question.
    indices = np.empty(total + 1, np.int64)
    old, new = np.empty(total + 1, before.dtype), np.empty(total + 1, before.dtype)
    _write(before, after, before.view(whole), after.view(whole), counts, indices, old, new)
    return indices[:total], old[:total], new[:total]


@compiled()
def _count(before: Array, after: Array, before_bits: Array, after_bits: Array, counts: Array) -> int:
    """Count what differs, in each block and in all."""
    total = 0
    for block in range(counts.size):
        part = slice(BLOCK * block, min(BLOCK * (block + 1), before.size))
        x, y, x_bits, y_bits = before[part], after[part], before_bits[part], after_bits[part]
        count: np.int32 = np.int32(0)
        for at in range(x.size):
            count += np.int32((x[at] != y[at]) & (x_bits[at] != y_bits[at]))
        counts[block] = count
        total += int(count)
    return total


@compiled()
def _write(
    before: Array,
    after: Array,
    before_bits: Array,
    after_bits: Array,
    counts: Array,
    indices: Array,
    old: Array,
    new: Array,
) -> None:
    """Write down what differs, block by block."""
    found = 0
    for block in range(counts.size):
        first = BLOCK * block
        if counts[block] == BLOCK:
            for at in range(BLOCK):
                indices[found + at] = first + at
                old[found + at] = before[first + at]
                new[found + at] = after[first + at]
            found += BLOCK
        elif counts[block]:
            for at in range(first, min(first + BLOCK, before.size)):
                indices[found], old[found], new[found] = at, before[at], after[at]
                found += (before[at] != after[at]) & (before_bits[at] != after_bits[at])
