"""Compiled arithmetic of an edited tail: images are lanes of vector instructions, a lot of them at a time in the cache.

A tail of 20,000 parameters is microseconds of arithmetic an image; in calls of a tensor library the calls and the
arrays between them take several times as long. Here one pass over the images makes the edited tail's logits and
whatever is asked of them. The oracle is `tail.Edited` with `local.Local`.

numba compiles it: LLVM turns the plain loops over images into vector instructions, and the functions are kept on disk.
`torch.compile` would need a C++ compiler on every machine, and one compilation for each size of a support.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from bgd.compiling import FUSED, compiled as compiling

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

LANES = 512  # images in a lot: what a lot needs stays in the nearest caches

# exp(x) = 2^n exp(r), |r| <= log(2) / 2, by the polynomial of Cephes' expf (S. Moshier): 2 units in the last place.
LOWEST = np.float32(-86.0)  # exp of less than that counts as exp of that: 4.5e-38
TURNS = np.float32(1.44269504088896341)  # 1 / log(2)
WHOLE = np.float32(
    12582912.0
)  # 1.5 * 2^23: what is added to it is rounded to a whole number, in its lowest bits
HIGH, LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # log(2) in two parts
P0, P1, P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
P3, P4, P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
ZERO, ONE = np.float32(0.0), np.float32(1.0)

compiled = compiling(fastmath=FUSED)


class Net(NamedTuple):
    """A tail's weights, as compiled code reads them.

    Attributes:
        sizes: Inputs of the first layer, then units of each (L + 1,).
        rows: First row of each layer in an array with a row for every unit of the tail (L + 1,).
        starts: First place of each layer in `weights` (L,).
        weights: Of all layers, each (units, inputs + 1) row by row.
    """

    sizes: Integers
    rows: Integers
    starts: Integers
    weights: Floats


class Edit(NamedTuple):
    """A change of some of its parameters, sorted out by layer as `tail.Support` has it, each (k,)."""

    layer: Integers
    unit: Integers
    column: Integers
    delta: Floats


def _doubling(typing: Any, x: Any, turns: Any) -> Any:
    """Return x 2^n of float32 numbers: n is in the lowest bits of `turns`, and is added to the exponent of x."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = context.get_value_type(types.int32)
        bits, more = (builder.bitcast(each, whole) for each in arguments)
        found = builder.add(bits, builder.shl(more, whole(23)))
        return builder.bitcast(found, context.get_value_type(types.float32))

    return types.float32(types.float32, types.float32), code


_doubled: Any = intrinsic(_doubling)


@compiled
def _exp(x: np.float32) -> Any:
    """Return exp(x) of a number that is not above 0."""
    value = x if x > LOWEST else LOWEST
    turns = value * TURNS + WHOLE
    whole = turns - WHOLE
    r = value - whole * HIGH - whole * LOW
    return _doubled((((((P0 * r + P1) * r + P2) * r + P3) * r + P4) * r + P5) * r * r + r + ONE, turns)


@compiled
def _add(factor: np.float32, x: Floats, to: Floats) -> None:
    for i in range(len(to)):
        to[i] += factor * x[i]


@compiled
def _fill(value: np.float32, to: Floats) -> None:
    for i in range(len(to)):
        to[i] = value


@compiled
def _copy(x: Floats, to: Floats) -> None:
    for i in range(len(to)):
        to[i] = x[i]


@compiled
def _relu(x: Floats, out: Floats) -> None:
    for i in range(len(out)):
        value = x[i]
        out[i] = ZERO if value < ZERO else value


@compiled
def _masked(x: Floats, mask: Floats, out: Floats) -> None:
    for i in range(len(out)):
        value, on = x[i], mask[i]
        out[i] = value if on > ZERO else ZERO


@compiled
def _largest(x: Floats, out: Floats) -> None:
    for i in range(len(out)):
        value, other = x[i], out[i]
        out[i] = value if value > other else other


@compiled
def _less(x: Floats, y: Floats, out: Floats) -> None:
    for i in range(len(out)):
        out[i] = x[i] - y[i]


@compiled
def _scaled_less(factor: Floats, x: Floats, y: Floats, out: Floats) -> None:
    for i in range(len(out)):
        out[i] = factor[i] * (x[i] - y[i])


@compiled
def _add_variance(p: Floats, x: Floats, mean: Floats, to: Floats) -> None:
    for i in range(len(to)):
        to[i] += p[i] * x[i] * (x[i] - mean[i])


@compiled
def _add_product(x: Floats, y: Floats, to: Floats) -> None:
    for i in range(len(to)):
        to[i] += x[i] * y[i]


@compiled
def edit_lot(
    net: Net, edit: Edit, images: Floats, base: Floats, start: int, width: int, values: Floats, at: int
) -> None:
    """Write every layer's outputs, before ReLU, for a lot of images with an edit.

    Args:
        net: The tail.
        edit: What is changed.
        images: What goes into the first layer (inputs + 1, n).
        base: Outputs of all layers without the edit (rows, n).
        start: First image of the lot.
        width: How many images.
        values: Is written to, from column `at` on (rows, ...).
        at: A column.
    """
    last = len(net.starts) - 1
    first = min(edit.layer) if len(edit.layer) else last
    entering = np.empty(width, np.float32)
    before = np.empty(width, np.float32)
    for row in range(net.rows[min(last, first + 1) + 1]):
        values[row, at : at + width] = base[row, start : start + width]
    for place in range(first, last + 1):
        inputs, units = net.sizes[place], net.sizes[place + 1]
        here, below = net.rows[place], net.rows[place - 1]
        weights = net.weights[net.starts[place] : net.starts[place] + units * (inputs + 1)]
        if place == first + 1:
            for unit in range(inputs):
                if not np.any((edit.layer == first) & (edit.unit == unit)):
                    continue
                _relu(values[below + unit, at : at + width], entering)
                _relu(base[below + unit, start : start + width], before)
                _add(-ONE, before, entering)
                for to in range(units):
                    _add(weights[to * (inputs + 1) + unit], entering, values[here + to, at : at + width])
        elif place > first:
            for to in range(units):
                values[here + to, at : at + width] = weights[to * (inputs + 1) + inputs]
            for unit in range(inputs):
                _relu(values[below + unit, at : at + width], entering)
                for to in range(units):
                    _add(weights[to * (inputs + 1) + unit], entering, values[here + to, at : at + width])
        for j in range(len(edit.layer)):
            if edit.layer[j] != place:
                continue
            moved = values[here + edit.unit[j], at : at + width]
            if edit.column[j] == inputs:
                moved += edit.delta[j]
            elif place == 0:
                _add(edit.delta[j], images[edit.column[j], start : start + width], moved)
            else:
                _relu(values[below + edit.column[j], at : at + width], entering)
                _add(edit.delta[j], entering, moved)


@compiled
def divergence(
    net: Net,
    edit: Edit,
    images: Floats,
    base: Floats,
    wanted: Floats,
    entropy: Floats,
    predicted: NDArray[np.int32],
    most: float,
) -> tuple[float, int]:
    """Return sum_n KL(q_n || p_n) over images n, and how many change class; p are the edited tail's probabilities.

    Each term is 0 or more: once the sum is above `most`, it is returned as it is.

    Args:
        net: The tail.
        edit: What is changed.
        images: What goes into the first layer (inputs + 1, n).
        base: Outputs of all layers without the edit (rows, n).
        wanted: q (C, n).
        entropy: sum_c q log q of each image (n,).
        predicted: The largest class of each image so far (n,). Where it is as large as another, nothing changes.
        most: No larger sum is of interest.
    """
    count, classes, row = images.shape[1], net.sizes[-1], net.rows[-2]
    values = np.empty((net.rows[-1], LANES), np.float32)
    scratch = np.empty((4, LANES), np.float32)
    total, flipped, products = 0.0, 0, np.empty(LANES)
    for start in range(0, count, LANES):
        width = min(LANES, count - start)
        edit_lot(net, edit, images, base, start, width, values, 0)
        # By name, not unpacked: numba takes what is unpacked for strided, and makes no vector code of it.
        top, own, crossed, powers = (
            scratch[0, :width],
            scratch[1, :width],
            scratch[2, :width],
            scratch[3, :width],
        )
        _copy(values[row], top)
        _fill(ZERO, crossed)
        _fill(ZERO, powers)
        mine = predicted[start : start + width]
        for c in range(classes):
            _largest(values[row + c], top)
            _where(mine, np.int32(c), values[row + c], own)
        for c in range(classes):
            _add_terms(values[row + c], top, wanted[c, start : start + width], crossed, powers)
        _less(entropy[start : start + width], crossed, crossed)
        for i in range(width):
            flipped += own[i] < top[i]
        total += _sum(crossed) + _log_product(powers, products[:width])
        if total > most:
            break
    return total, flipped


@compiled
def _add_terms(logits: Floats, top: Floats, wanted: Floats, crossed: Floats, powers: Floats) -> None:
    """Add a class's q (z - top) and exp(z - top) to what is there of the classes before."""
    for i in range(len(top)):
        less = logits[i] - top[i]
        crossed[i] += wanted[i] * less
        powers[i] += _exp(less)


@compiled
def _where(x: NDArray[np.int32], equal: np.int32, y: Floats, out: Floats) -> None:
    for i in range(len(out)):
        value, other = y[i], out[i]
        out[i] = value if x[i] == equal else other


@compiled
def _sum(x: Floats) -> float:
    """Add up in float64, four sums side by side."""
    one = two = three = four = 0.0
    whole = len(x) // 4 * 4
    for i in range(0, whole, 4):
        one += x[i]
        two += x[i + 1]
        three += x[i + 2]
        four += x[i + 3]
    for i in range(whole, len(x)):
        one += x[i]
    return (one + two) + (three + four)


@compiled
def _log_product(x: Floats, products: NDArray[np.float64]) -> float:
    """Return sum log x of numbers from 1 to 1e15: a logarithm for each 16, of their product."""
    total = 0.0
    for i in range(len(x)):
        products[i] = x[i]
    count = len(x)
    for _ in range(4):
        half = count // 2
        for i in range(half):
            products[i] *= products[count - half + i]
        count -= half
    for i in range(count):
        total += np.log(products[i])
    return total


@compiled
def shortfalls(
    net: Net,
    edit: Edit,
    images: Floats,
    base: Floats,
    labels: Integers,
    lead: float,
    soft: float,
    values: Floats,
    short: Floats,
) -> None:
    """Write by how much the softened margin of each image is below its lead, 0 where it is not.

    Args:
        net: The tail.
        edit: What is changed.
        images: What goes into the first layer (inputs + 1, n).
        base: Outputs of all layers without the edit (rows, n).
        labels: The right class of each image (n,).
        lead: Logits.
        soft: Temperature of the softened margin, logits.
        values: Every layer's outputs, before ReLU (rows, n), written.
        short: Written (n,).
    """
    count, row = images.shape[1], net.rows[-2]
    for start in range(0, count, LANES):
        width = min(LANES, count - start)
        edit_lot(net, edit, images, base, start, width, values, start)
    for i in range(count):
        top, powers = -np.inf, 0.0
        for c in range(net.sizes[-1]):
            if c != labels[i]:
                top = max(top, values[row + c, i])
        for c in range(net.sizes[-1]):
            if c != labels[i]:
                powers += np.exp((values[row + c, i] - top) / soft)
        missing = lead - values[row + labels[i], i] + top + soft * np.log(powers)
        short[i] = max(missing, 0.0)


@compiled
def expand(
    net: Net,
    edit: Edit,
    images: Floats,
    base: Floats,
    wanted: Floats,
    values: Floats,
    outputs: Floats,
    weight: Floats,
) -> None:
    """Write what a model of the divergence near an edit starts from.

    Args:
        net: The tail.
        edit: What is changed.
        images: What goes into the first layer (inputs + 1, n).
        base: Outputs of all layers without the edit (rows, n).
        wanted: q (C, n).
        values: Every layer's outputs, before ReLU (rows, n), written.
        outputs: Probabilities p (C, n), written.
        weight: Of each image, sum_c |p - q| + p (1 - p) (n,), written.
    """
    count, classes, row = images.shape[1], net.sizes[-1], net.rows[-2]
    scratch = np.empty((2, LANES), np.float32)
    for start in range(0, count, LANES):
        width = min(LANES, count - start)
        edit_lot(net, edit, images, base, start, width, values, start)
        top, total = scratch[0, :width], scratch[1, :width]
        own = weight[start : start + width]
        _copy(values[row, start : start + width], top)
        _fill(ZERO, total)
        _fill(ZERO, own)
        for c in range(1, classes):
            logits = values[row + c, start : start + width]
            _largest(logits, top)
        for c in range(classes):
            logits, p = values[row + c, start : start + width], outputs[c, start : start + width]
            for i in range(width):
                p[i] = _exp(logits[i] - top[i])
                total[i] += p[i]
        for c in range(classes):
            p, q = outputs[c, start : start + width], wanted[c, start : start + width]
            for i in range(width):
                p[i] /= total[i]
                own[i] += abs(p[i] - q[i]) + p[i] * (ONE - p[i])


@compiled
def push(
    net: Net, values: Floats, start: int, place: int, unit: int, moved: Floats, tangents: Floats
) -> None:
    """Carry a movement of one output of a layer up to the logits, for a lot of images.

    Args:
        net: The tail, with its edit.
        values: Every layer's outputs, before ReLU (rows, m).
        start: First image of the lot.
        place: Which layer.
        unit: Which of its outputs.
        moved: By how much it moves, image by image (w,).
        tangents: By how much every output of the layers above moves, and at the end each logit (rows, w); written.
    """
    width = len(moved)
    entering = np.empty(width, np.float32)
    for row in range(net.rows[place], net.rows[-1]):
        _fill(ZERO, tangents[row, :width])
    _copy(moved, tangents[net.rows[place] + unit, :width])
    for above in range(place + 1, len(net.starts)):
        inputs, units, below = net.sizes[above], net.sizes[above + 1], net.rows[above - 1]
        for source in range(inputs):
            if above == place + 1 and source != unit:
                continue
            _masked(tangents[below + source], values[below + source, start : start + width], entering)
            for to in range(units):
                factor = net.weights[net.starts[above] + to * (inputs + 1) + source]
                _add(factor, entering, tangents[net.rows[above] + to, :width])


@compiled
def columns(
    net: Net,
    values: Floats,
    probabilities: Floats,
    roots: Floats,
    residual: Floats,
    layer: Integers,
    unit: Integers,
    into: Floats,
    rows: Floats,
    slopes: Floats,
) -> None:
    """Write half of the Gauss-Newton matrix of some parameters, and the slope of each.

    Args:
        net: The tail, with its edit.
        values: Every layer's outputs, before ReLU (rows, m).
        probabilities: p of the images (C, m).
        roots: Its square root (C, m).
        residual: p - q (C, m).
        layer: Of each parameter (k,).
        unit: The output that each leads to (k,).
        into: What it weighs (k, m).
        rows: sqrt(p) (a - p'a) for a = dz / dw (k, C, m), written: the matrix is the product of the rows.
        slopes: sum_n a'(p - q) (k,), written.
    """
    classes, count = probabilities.shape
    tangents, scratch = np.empty((net.rows[-1], LANES), np.float32), np.empty((2, LANES), np.float32)
    slopes[:] = ZERO
    for start in range(0, count, LANES):
        width = min(LANES, count - start)
        mean, sums = scratch[0, :width], scratch[1, :width]
        for j in range(len(layer)):
            push(net, values, start, layer[j], unit[j], into[j, start : start + width], tangents)
            _fill(ZERO, mean)
            _fill(ZERO, sums)
            for c in range(classes):
                logits = tangents[net.rows[-2] + c, :width]
                _add_product(probabilities[c, start : start + width], logits, mean)
                _add_product(residual[c, start : start + width], logits, sums)
            slopes[j] += sums.sum()
            for c in range(classes):
                root = roots[c, start : start + width]
                _scaled_less(root, tangents[net.rows[-2] + c], mean, rows[j, c, start : start + width])


@compiled
def pull(net: Net, values: Floats, several: int, deltas: Floats) -> None:
    """Carry derivatives of several functions with respect to the logits down to every layer's outputs, in place.

    Args:
        net: The tail, with its edit.
        values: Every layer's outputs, before ReLU (rows, m).
        several: How many functions k.
        deltas: Layer by layer (k, units, m) one after the other (k rows, m), of which the last layer's are given.
    """
    for place in range(len(net.starts) - 1, 0, -1):
        inputs, units = net.sizes[place], net.sizes[place + 1]
        for each in range(several):
            here = several * net.rows[place] + each * units
            under = several * net.rows[place - 1] + each * inputs
            for unit in range(inputs):
                below = deltas[under + unit]
                below[:] = ZERO
                for above in range(units):
                    factor = net.weights[net.starts[place] + above * (inputs + 1) + unit]
                    _add(factor, deltas[here + above], below)
                _masked(below, values[net.rows[place - 1] + unit], below)


@compiled
def curvature(net: Net, values: Floats, probabilities: Floats, out: Floats) -> None:
    """Write the second derivative, by Gauss-Newton, with respect to every layer's outputs (rows, m).

    Args:
        net: The tail, with its edit.
        values: Every layer's outputs, before ReLU (rows, m).
        probabilities: Of the images (C, m).
        out: Written.
    """
    classes, count = probabilities.shape
    tangents, scratch = np.empty((net.rows[-1], LANES), np.float32), np.ones((2, LANES), np.float32)
    for start in range(0, count, LANES):
        width = min(LANES, count - start)
        ones, mean = scratch[0, :width], scratch[1, :width]
        for place in range(len(net.starts)):
            for unit in range(net.sizes[place + 1]):
                push(net, values, start, place, unit, ones, tangents)
                own = out[net.rows[place] + unit, start : start + width]
                _fill(ZERO, own)
                _fill(ZERO, mean)
                for c in range(classes):
                    p = probabilities[c, start : start + width]
                    _add_product(p, tangents[net.rows[-2] + c], mean)
                for c in range(classes):
                    p = probabilities[c, start : start + width]
                    _add_variance(p, tangents[net.rows[-2] + c], mean, own)
