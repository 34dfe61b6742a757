"""Compiled arithmetic of one sample through an edited tail, in float64: its margin, how it rises, how far to go."""

import numpy as np
from numpy.typing import NDArray

from bgd.methods.least_harm.lanes import Edit, Floats, Net, compiled

Doubles = NDArray[np.float64]


@compiled
def follow(net: Net, edit: Edit, image: Doubles, base: Doubles, values: Doubles) -> None:
    """Write every layer's outputs, before ReLU, with an edit.

    Args:
        net: The tail.
        edit: What is changed.
        image: What goes into the first layer (inputs + 1,).
        base: Outputs of all layers without the edit (rows,).
        values: Written (rows,).
    """
    last = len(net.starts) - 1
    first = min(edit.layer) if len(edit.layer) else last
    values[: net.rows[first + 1]] = base[: net.rows[first + 1]]
    for place in range(first, last + 1):
        inputs, units, here = net.sizes[place], net.sizes[place + 1], net.rows[place]
        if place > first:
            below = net.rows[place - 1]
            start = base if place == first + 1 else values
            for to in range(units):
                own = net.starts[place] + to * (inputs + 1)
                total = base[here + to] if place == first + 1 else net.weights[own + inputs]
                for unit in range(inputs):
                    entering = max(values[below + unit], 0.0)
                    if place == first + 1:
                        entering -= max(start[below + unit], 0.0)
                    total += net.weights[own + unit] * entering
                values[here + to] = total
        for j in range(len(edit.layer)):
            if edit.layer[j] == place:
                column = edit.column[j]
                if place == 0:
                    entering = image[column]
                else:
                    entering = 1.0 if column == inputs else max(values[net.rows[place - 1] + column], 0.0)
                values[here + edit.unit[j]] += edit.delta[j] * entering


@compiled
def whole(net: Net, image: Doubles, values: Doubles) -> None:
    """Write every layer's outputs, before ReLU, without an edit (rows,)."""
    for place in range(len(net.starts)):
        inputs = net.sizes[place]
        for to in range(net.sizes[place + 1]):
            own = net.starts[place] + to * (inputs + 1)
            total = 0.0
            for unit in range(inputs):
                entering = image[unit] if place == 0 else max(values[net.rows[place - 1] + unit], 0.0)
                total += net.weights[own + unit] * entering
            values[net.rows[place] + to] = total + net.weights[own + inputs]


@compiled
def first_right(
    net: Net,
    edit: Edit,
    old: Floats,
    changes: Doubles,
    image: Doubles,
    base: Doubles,
    offset: Doubles,
    label: int,
    grids: tuple[Doubles, int, int],
    margin: float,
) -> float:
    """Return the smallest multiple of a change at which the sample is right, as `target._first_right` does.

    Args:
        net: The tail.
        image: What goes into the first layer (inputs + 1,).
        base: Outputs of all layers without the edit (rows,).
        edit: The parameters; the deltas are written over.
        old: Their values (k,).
        changes: What is added to them (k,).
        offset: Of the sample (C,).
        label: The right class.
        grids: The first multiples, ascending; how many points a bracket is looked at; how many times.
        margin: By which the right class has to lead.
    """
    multiples, points, rounds = grids
    values = np.empty(len(base))
    low, high = 0.0, np.inf
    looked = multiples
    for _ in range(rounds + 1):
        before = low
        for multiple in looked:
            for j in range(len(old)):
                new = old[j] + np.float32(changes[j] * multiple)
                edit.delta[j] = new - old[j]
            follow(net, edit, image, base, values)
            if lead(values[net.rows[-2] :], offset, label) >= margin:
                low, high = before, multiple
                break
            before = multiple
        end = high if np.isfinite(high) else low
        looked = low + (end - low) * (np.arange(1, points + 1) / points)
    return high


@compiled
def lead(logits: Doubles, offset: Doubles, label: int) -> float:
    """Return the margin of logits (C,), -inf where one is not finite."""
    rival = -np.inf
    for c in range(len(logits)):
        if not np.isfinite(logits[c]):
            return -np.inf
        if c != label:
            rival = max(rival, logits[c] + offset[c])
    return float(logits[label] + offset[label] - rival)


@compiled
def soften(logits: Doubles, offset: Doubles, label: int, temperature: float, slope: Doubles) -> float:
    """Return the softened margin of logits (C,), and write its gradient (C,)."""
    top = -np.inf
    for c in range(len(logits)):
        if c != label:
            top = max(top, logits[c] + offset[c])
    total = 0.0
    for c in range(len(logits)):
        slope[c] = 0.0 if c == label else np.exp((logits[c] + offset[c] - top) / temperature)
        total += slope[c]
    for c in range(len(logits)):
        slope[c] = 1.0 if c == label else -slope[c] / total
    return float(logits[label] + offset[label] - top - temperature * np.log(total))


@compiled
def descend(
    net: Net, starts: NDArray[np.int64], image: Doubles, values: Doubles, slope: Doubles, out: Floats
) -> None:
    """Write the derivative of a function of the logits with respect to every parameter.

    Args:
        net: The tail, with its edit.
        starts: First place of each layer in the tail's vector, and at the end its size (L + 1,).
        image: What goes into the first layer (inputs + 1,).
        values: Every layer's outputs, before ReLU (rows,).
        slope: The derivative with respect to the logits (C,).
        out: Written (P,).
    """
    delta = slope
    for place in range(len(net.starts) - 1, -1, -1):
        inputs, units, start = net.sizes[place], net.sizes[place + 1], starts[place]
        has_bias = starts[place + 1] - start > units * inputs
        below = np.zeros(inputs)
        for source in range(inputs):
            entering = image[source] if place == 0 else max(values[net.rows[place - 1] + source], 0.0)
            for to in range(units):
                out[start + to * inputs + source] = delta[to] * entering
            if place > 0 and entering > 0:
                for to in range(units):
                    below[source] += net.weights[net.starts[place] + to * (inputs + 1) + source] * delta[to]
        if has_bias:
            for to in range(units):
                out[start + units * inputs + to] = delta[to]
        delta = below
