"""The rest of a small network and the loss of every image in one compiled pass.

Images are the lanes of vector instructions: values lie in memory unit by unit, and a block of images goes through all
layers, the arg-max and the loss while it is in the nearest cache. numba has no vector exponential or logarithm of its
own; these are polynomials (the minimax ones of the Cephes library, single precision), which LLVM vectorises with the
loop around them. Importing this module takes numba, half a second.
"""

import numpy as np
from numpy.typing import NDArray

from bgd.compiling import FUSED, compiled

LIMIT = np.float32(1e3)  # that of `bgd.evaluation.sweep`
LANES = 512  # images in a block: 2 KiB a unit, so that a hundred units stay in a cache of 256 KiB
Floats = NDArray[np.float32]
Places = NDArray[np.int64]

_f, _i = np.float32, np.int32
_LOG2_E, _LN2_HIGH, _LN2_LOW = _f(1.44269504), _f(0.693359375), _f(-2.12194440e-4)  # high + low = ln 2
_LEAST = _f(-87.0)  # below it the exponential leaves the normal numbers; added to 1 it is nothing
_ROOT = _i(0x3F3504F3)  # sqrt(1/2) as bits: mantissas are taken between it and its double


@compiled(inline="always", error_model="numpy", fastmath=FUSED)
def exponential(x):  # type: ignore[no-untyped-def]
    """Exponential of a float32 of at most 0, within 1e-7 of itself; that of what lies below -87 is that of -87."""
    x = max(x, _LEAST)
    power = np.floor(x * _LOG2_E + _f(0.5))
    rest = x - power * _LN2_HIGH - power * _LN2_LOW
    series = _f(1.9875691500e-4)
    series = series * rest + _f(1.3981999507e-3)
    series = series * rest + _f(8.3334519073e-3)
    series = series * rest + _f(4.1665795894e-2)
    series = series * rest + _f(1.6666665459e-1)
    series = series * rest + _f(5.0000001201e-1)
    return (series * rest * rest + rest + _f(1.0)) * _i((_i(power) + _i(127)) << _i(23)).view(np.float32)


@compiled(inline="always", error_model="numpy", fastmath=FUSED)
def logarithm_of_more(x):  # type: ignore[no-untyped-def]
    """Logarithm of 1 + x for a float32 x from 0 on, within 1e-7 of itself, however small x is."""
    above = x + _f(1.0)
    lost = (x - (above - _f(1.0))) / above
    bits = _i(_f(above).view(np.int32) - _ROOT)
    power = _f(_i(bits >> _i(23)))
    rest = _i(_i(bits & _i(0x7FFFFF)) + _ROOT).view(np.float32) - _f(1.0)
    square = rest * rest
    series = _f(7.0376836292e-2)
    series = series * rest - _f(1.1514610310e-1)
    series = series * rest + _f(1.1676998740e-1)
    series = series * rest - _f(1.2420140846e-1)
    series = series * rest + _f(1.4249322787e-1)
    series = series * rest - _f(1.6668057665e-1)
    series = series * rest + _f(2.0000714765e-1)
    series = series * rest - _f(2.4999993993e-1)
    series = series * rest + _f(3.3333331174e-1)
    small = series * rest * square - _f(0.5) * square + power * _LN2_LOW + lost
    return small + rest + power * _LN2_HIGH


@compiled(fastmath=FUSED)
def _edit(
    values: Floats,
    before: Floats,
    inputs: Floats,
    units: Places,
    columns: Places,
    changes: Floats,
    start: int,
    count: int,
) -> bool:
    """Add an edit to a block of pre-activations (F, LANES); return whether no difference was too large to be added."""
    for number in range(len(changes)):
        row, change = values[units[number]], changes[number]
        if columns[number] < 0:
            for image in range(count):
                row[image] += change
        else:
            column = inputs[columns[number], start : start + count]
            for image in range(count):
                row[image] += change * column[image]
    large = 0
    for number in range(len(changes)):
        row, old = values[units[number]], before[units[number], start : start + count]
        for image in range(count):  # counted, for a sum of whole numbers runs in all lanes
            large += 0 if abs(row[image] - old[image]) <= LIMIT else 1  # NaN is not
    return large == 0


@compiled(fastmath=FUSED)
def _layer(weights: Floats, inputs: Floats, outputs: Floats, count: int) -> None:
    """Add a layer's product to `outputs` (F, LANES), four inputs at a time, for the first `count` images."""
    units, wide = weights.shape
    whole = wide - wide % 4
    for unit in range(units):
        row = outputs[unit]
        for j in range(0, whole, 4):
            w0, w1, w2, w3 = (
                weights[unit, j],
                weights[unit, j + 1],
                weights[unit, j + 2],
                weights[unit, j + 3],
            )
            h0, h1, h2, h3 = inputs[j], inputs[j + 1], inputs[j + 2], inputs[j + 3]
            for image in range(count):
                row[image] += w0 * h0[image] + w1 * h1[image] + w2 * h2[image] + w3 * h3[image]
        for j in range(whole, wide):
            w0, h0 = weights[unit, j], inputs[j]
            for image in range(count):
                row[image] += w0 * h0[image]


@compiled(fastmath=FUSED)
def _rectify(values: Floats, count: int) -> None:
    for unit in range(len(values)):  # by number: numba takes a row that it iterates over to lie anyhow
        row = values[unit]
        for image in range(count):
            value = row[image]
            row[image] = _f(0.0) if value < _f(0.0) else value  # NaN stays


@compiled(error_model="numpy", fastmath=FUSED)
def _judge(
    logits: Floats,
    labels: Places,
    losses: NDArray[np.float64],
    predictions: Places,
) -> bool:
    """Write the loss and the class of each image of a block; return whether all logits (C, LANES) are finite.

    The loss is log(1 + s) + (largest logit - label's), s the sum of the other classes' exponentials less the largest:
    it keeps its digits where it is next to nothing.
    """
    count = len(labels)
    top, others, odd = np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    best = np.empty(LANES, np.int32)
    for image in range(count):
        top[image], best[image] = logits[0, image], 0
    for number in range(1, len(logits)):
        row, name = logits[number], _i(number)
        for image in range(count):
            better = row[image] > top[image]
            top[image] = row[image] if better else top[image]
            best[image] = name if better else best[image]
    others[:], odd[:] = _f(0.0), _f(0.0)
    for number in range(len(logits)):
        row = logits[number]
        for image in range(count):
            below = row[image] - top[image]
            power = exponential(below)
            others[image] += power if below < _f(0.0) else _f(0.0)
            odd[image] += _f(0.0) if below < _f(0.0) else _f(1.0)
    for image in range(count):
        others[image] += odd[image] - _f(1.0)  # ties are others too
    odd[:] = _f(0.0)
    for number in range(len(logits)):
        row = logits[number]
        for image in range(count):
            odd[image] += row[image] * _f(0.0)
    for image in range(count):
        top[image] -= logits[labels[image], image]
    for image in range(count):
        losses[image] = np.float64(logarithm_of_more(others[image]) + top[image])
    for image in range(count):
        predictions[image] = best[image]
    sound = _f(0.0)
    for image in range(count):
        sound = odd[image] if odd[image] != _f(0.0) else sound  # NaN is no number
    return bool(sound == _f(0.0))


@compiled(fastmath=FUSED)
def finish(
    flat: Floats,
    starts: Places,
    widths: Places,
    biases: Places,
    rectified: NDArray[np.bool_],
    first: int,
    values: Floats,
    inputs: Floats,
    units: Places,
    columns: Places,
    changes: Floats,
    kept: Floats,
    write: bool,
    labels: Places,
    losses: NDArray[np.float64],
    predictions: Places,
) -> bool:
    """Run every image from the pre-activations of a layer to its loss and class.

    Args:
        flat: The network's parameters (|W|,).
        starts: Where each layer's weights begin in it (D,).
        widths: Inputs of the first layer, and units of each (D + 1,).
        biases: Where each layer's biases begin, -1 where it has none (D,).
        rectified: Whether a ReLU lies behind each layer (D,).
        first: The layer whose pre-activations are given; all behind it is computed.
        values: Those, before an edit of that layer (F, N).
        inputs: Of that layer (J, N); those in `columns` have to be there.
        units: The unit of each edited number (k,).
        columns: The input that it belongs to, -1 for a bias (k,).
        changes: New minus old number (k,).
        kept: Pre-activations of all layers, one after the other (units of all, N).
        write: Whether to make those of the layers from the first on what is computed.
        labels: Of the images (N,).
        losses: Where the losses go, in nats (N,).
        predictions: Where the classes go (N,).

    Returns:
        Whether all logits are finite and no difference too large. If not, what was written means nothing.
    """
    depth, images = len(starts), len(labels)
    widest = widths[1:].max()
    now, then = np.empty((widest, LANES), np.float32), np.empty((widest, LANES), np.float32)
    offset = widths[1 : first + 1].sum()
    sound = True
    for start in range(0, images, LANES):
        stop = min(start + LANES, images)
        count, at = stop - start, offset
        for unit in range(len(values)):
            now[unit, :count] = values[unit, start:stop]
        sound &= _edit(now, values, inputs, units, columns, changes, start, count)
        for layer in range(first, depth):
            outputs = widths[layer + 1]
            if layer > first:
                for unit in range(outputs):
                    then[unit, :count] = flat[biases[layer] + unit] if biases[layer] >= 0 else _f(0.0)
                end = starts[layer] + outputs * widths[layer]
                _layer(flat[starts[layer] : end].reshape(outputs, widths[layer]), now, then, count)
                now, then = then, now
            if write:
                kept[at : at + outputs, start:stop] = now[:outputs, :count]
            if rectified[layer]:
                _rectify(now[:outputs], count)
            at += outputs
        sound &= _judge(now[: widths[depth]], labels[start:stop], losses[start:stop], predictions[start:stop])
    return sound
