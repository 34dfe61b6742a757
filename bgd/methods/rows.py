"""One step of SGD with momentum on some rows of a matrix, compiled by numba.

A row of the weights is read and written once, and so is its momentum: that is all the memory a step has to move.
numba, not torch.compile: which rows a step goes through differs from step to step. Compiling takes about a second for
each kind of step, once: numba keeps the code in `__pycache__`, or where `NUMBA_CACHE_DIR` says.
"""

from typing import Any

import numpy as np

from bgd.compiling import FUSED, compiled

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Booleans = np.ndarray[Any, np.dtype[np.bool_]]


# Contracting a product and a sum rounds once where torch's own operations do too; no sum is put in another order.
@compiled(fastmath=FUSED)
def step(
    weight: Floats,
    velocity: Floats,
    rows: Integers,
    moving: Booleans,
    back: Floats,
    entering: Floats,
    start: Floats | None,
    stiffness: Floats | None,
    strength: np.floating[Any],
    shrink: np.floating[Any] | None,
    rate: np.floating[Any],
    momentum: np.floating[Any],
    limit: np.floating[Any],
    through: Floats,
) -> bool:
    """Take a step, in place: v <- m v + g and w <- w - r v, with g = d h^T + strength * F (w - w0) + shrink sign(w).

    The gradient goes on to what comes before by the weight before the step, in the same look at it.

    Args:
        weight: w (out, in).
        velocity: v (out, in); whatever it holds counts as 0 in a row that is not moving.
        rows: The rows to go through (k,).
        moving: Whether a row was gone through before (out,).
        back: d (out,).
        entering: h (in,).
        start: w0 (out, in); None where nothing pulls there.
        stiffness: F (out, in); None for 1 everywhere.
        strength: On the pull.
        shrink: On the sign; None for 0.
        rate: r.
        momentum: m.
        limit: The largest number of the type.
        through: Where d w of the rows is added up (in,).

    Returns:
        Whether every g is finite.
    """
    finite = True
    for row in rows:
        w, v, d = weight[row], velocity[row], back[row]
        if not moving[row]:
            v[:] = 0
        for at in range(w.size):
            through[at] += d * w[at]
            g = d * entering[at]
            if start is not None:
                if stiffness is None:
                    g += strength * (w[at] - start[row, at])
                else:
                    g += strength * stiffness[row, at] * (w[at] - start[row, at])
            if shrink is not None:
                if w[at] > 0:
                    g += shrink
                elif w[at] < 0:
                    g -= shrink
            finite &= abs(g) <= limit
            v[at] = momentum * v[at] + g
            w[at] -= rate * v[at]
    return finite
