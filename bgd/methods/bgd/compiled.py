"""The search (`bgd.methods.bgd.steps`) on a small row of linear layers, compiled by numba.

A candidate of such a network is some hundred multiply-adds: less than one call of torch takes. Here it is computed in
float64 from the sample's first layer and the subset, with a bound on how far float32 may be off. A decision that is
nearer to a tie is torch's: the search stops there, says which network it asks about, and goes on with the answer. So
every decision is the one that the network itself leads to.

numba, not torch.compile: that compiles graphs of tensor operations, no loop of draws and decisions on a network's
own numbers, and it needs a C++ compiler where it runs. Compiling takes some 15 s of processor, once. The code is kept
in `__pycache__`, or where `NUMBA_CACHE_DIR` says, and loaded from there in a second. It is one module, for numba does
not see that what is compiled here is of an older version of another one.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from bgd.compiling import compiled as compiling

Integers = np.ndarray[Any, np.dtype[np.int64]]
Singles = np.ndarray[Any, np.dtype[np.float32]]
Doubles = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.int8]]
Booleans = np.ndarray[Any, np.dtype[np.bool_]]

BLOCK = 64  # weights; a draw searches the sums of all blocks, and adds up one
# How far float32 may be off in a sum, times the sum of magnitudes: two units in the last place.
UNITS = 2 * float(np.finfo(np.float32).eps)
LIMIT = float(np.finfo(np.float32).max) ** 0.5  # larger values may overflow on the way
RATE, INVERSE, SHARE = range(3)  # a parameter moves by a * g, by -1 / g, by -g / a
DRAWN, OUT = 1, 2
# How a search ends: besides, the prior is not finite, leaves no weight to draw, or more random numbers are needed.
CORRECTED, WRONG, INFINITE, NOTHING, SHORT = range(5)


compiled = compiling(error_model="numpy")


class Row(NamedTuple):
    """A row of linear layers, each with a ReLU behind it or not.

    Attributes:
        widths: Units of each place, from the image to the logits (L + 1,).
        weights: Flat index of each layer's first weight (L,).
        biases: Flat index of each layer's first bias, -1 where it has none (L,).
        rectified: Whether a ReLU follows (L,).
        values: The parameters before the search (|W|,).
    """

    widths: Integers
    weights: Integers
    biases: Integers
    rectified: Booleans
    values: Doubles


class Case(NamedTuple):
    """One sample.

    Attributes:
        image: What goes into the first layer.
        first: What comes out of it before the search, without its ReLU.
        gross: Sums of the magnitudes of what is added up there.
        offset: Added to the logits (C,).
        label: The right class.
        gradient: Of the sample's loss (|W|,).
        prior: Weights of the distribution that is drawn from (|W|,).
        harmful: Mask (|W|,) of the parameters that are drawn again; empty for none.
        numbers: The stream's next random numbers, from 0 to below 1; more than are likely to be used.
    """

    image: Doubles
    first: Doubles
    gross: Doubles
    offset: Doubles
    label: int
    gradient: Singles
    prior: Singles
    harmful: Booleans
    numbers: Doubles


class How(NamedTuple):
    """The options of a search; see `SubsetSearch`.

    Attributes:
        rule: `RATE`, `INVERSE` or `SHARE`.
        number: The rule's a.
        redraws: How often a harmful parameter is drawn again.
        stops: Whether it ends where the sample is right.
        printed: Whether Replace compares what Algorithm 2 does.
    """

    rule: int
    number: np.float32
    redraws: int
    subset_size: int
    iterations: int
    expansion: int
    replace_probability: float
    prune: bool
    stops: bool
    printed: bool


class Desk(NamedTuple):
    """What a search and its caller write to each other.

    Attributes:
        indices: The subset, in the order it came in; more room than it takes.
        values: Its values, updated.
        said: Loss of the network with that subset, and whether it is right, 1 or 0: the caller's answer (2,).
        end: How it ended, iterations, size of the subset, forward passes, how many values differ (5,).
    """

    indices: Integers
    values: Singles
    said: Doubles
    end: Integers

    @classmethod
    def of(cls, room: int) -> "Desk":
        """Return one with room for so many parameters."""
        return cls(np.empty(room, np.int64), np.empty(room, np.float32), np.empty(2), np.empty(5, np.int64))


class Place(NamedTuple):
    """What comes out of each layer, without its ReLU, one layer after the other.

    Attributes:
        starts: Where each layer's units start (L,).
        sums: What comes out.
        errors: How far float32 may be off there; infinite where it may overflow.
        gross: Sums of the magnitudes of what is added up, on the way.
        noise: Squares of the errors that come with it, on the way.
    """

    starts: Integers
    sums: Doubles
    errors: Doubles
    gross: Doubles
    noise: Doubles


class _Table(NamedTuple):
    """Draws without replacement, as `bgd.methods.bgd.prior.Sampler` takes them.

    Attributes:
        weights: Of the distribution (|W|,).
        state: 0, or `DRAWN` since the table was made, or `OUT` of it (|W|,).
        sums: Cumulative weights at the end of each block.
        left: The sum when the table was made, and what is left of it (2,).
        numbers: Random numbers.
        used: How many of them are used; one more than there are where there were too few (1,).
    """

    weights: Singles
    state: Flags
    sums: Doubles
    left: Doubles
    numbers: Doubles
    used: Integers


@compiled
def _uniform(table: _Table) -> float:
    """Return the next random number; 0 where there is none."""
    table.used[0] = min(table.used[0] + 1, len(table.numbers) + 1)
    return table.numbers[table.used[0] - 1] if table.used[0] <= len(table.numbers) else 0.0


@compiled
def _short(table: _Table) -> bool:
    """Return whether there were too few random numbers."""
    return bool(table.used[0] > len(table.numbers))


@compiling(error_model="numpy", fastmath={"reassoc"})  # in float64: 1e-16 of a draw hangs on it
def _left_of(weights: Singles, state: Flags) -> float:
    """Return the sum of the weights that were not drawn."""
    total = 0.0
    for index in range(len(weights)):
        total += np.float64(weights[index]) if state[index] == 0 else 0.0
    return total


@compiled
def _tabulate(table: _Table) -> None:
    """Make the table anew, without what was drawn."""
    before = 0.0
    for block in range(len(table.sums)):
        part = slice(block * BLOCK, (block + 1) * BLOCK)
        before += _left_of(table.weights[part], table.state[part])
        table.sums[block] = before
    table.left[:] = before
    table.state[table.state == DRAWN] = OUT


@compiled
def _at(table: _Table, target: float) -> int:
    """Return the first index at which the cumulative weight is above the target."""
    sums, weights = table.sums, table.weights
    block = int(np.searchsorted(sums, target, side="right"))
    if block == len(sums):  # rounding leaves none: the last that adds anything
        block = int(np.searchsorted(sums, sums[-1]))
    reached = sums[block - 1] if block else 0.0
    target -= reached
    reached, last = 0.0, block * BLOCK
    for index in range(block * BLOCK, min((block + 1) * BLOCK, len(weights))):
        if table.state[index] != OUT and weights[index] > 0:
            reached += np.float64(weights[index])
            last = index
            if reached > target:
                break
    return last


@compiled
def _draw(table: _Table) -> int:
    """Return one more parameter; -1 where nothing is left."""
    if table.left[1] < 0.5 * table.left[0]:
        _tabulate(table)
    if not table.left[0] > 0:
        return -1
    while True:
        index = _at(table, _uniform(table) * table.left[0])
        if _short(table):
            return -1
        if table.weights[index] > 0 and table.state[index] == 0:
            table.state[index] = DRAWN
            table.left[1] -= np.float64(table.weights[index])
            return index


@compiled
def _drawn(table: _Table, harmful: Booleans, redraws: int, count: int, out: Integers) -> int:
    """Draw `count` parameters, fewer where fewer are left; return how many."""
    found = 0
    for _ in range(count):
        index = _draw(table)
        if len(harmful):
            for _ in range(redraws):
                if index < 0 or not harmful[index]:
                    break
                index = _draw(table)
        if index >= 0:
            out[found] = index
            found += 1
    return found


@compiled
def _updated(row: Row, case: Case, how: How, index: int) -> np.float32:
    """Return a parameter's value after its update, rounded as torch rounds it (`bgd.methods.bgd.update`)."""
    gradient = case.gradient[index]
    if how.rule == RATE:
        change = how.number * gradient
    elif how.rule == INVERSE:
        change = -(np.float32(1) / gradient)
        if not np.isfinite(change):
            change = np.float32(0)
    else:
        change = -gradient / how.number if how.number > 0 else np.float32(0)
    return np.float32(np.float32(row.values[index]) + change)


@compiled
def _layer_of(row: Row, index: int) -> int:
    """Return the layer that a weight belongs to."""
    layer = len(row.weights) - 1
    while row.weights[layer] > index:
        layer -= 1
    return layer


@compiled
def _place(row: Row) -> Place:
    units = row.widths[1:]
    room = np.empty((4, units.sum()))
    return Place(np.cumsum(units) - units, room[0], room[1], room[2], room[3])


@compiled
def _into(row: Row, case: Case, layer: int, source: int, place: Place) -> tuple[float, float]:
    """Return the input of a layer from a unit of the layer before, and a bound on its rounding error in float32."""
    if layer == 0:
        return case.image[source], 0.0
    unit = place.starts[layer - 1] + source
    value, error = place.sums[unit], place.errors[unit]
    if not row.rectified[layer - 1] or value > 0:
        return value, error
    return 0.0, 0.0 if value < -error else error


@compiled
def _look(row: Row, case: Case, desk: Desk, count: int, place: Place) -> tuple[float, float, float]:
    """Look at the sample with the first `count` parameters on the desk updated.

    Args:
        row: The network.
        case: The sample.
        desk: The subset.
        count: How many there are of it.
        place: What comes out of each layer is written here.

    Returns:
        Loss; margin of the label's logit over the others; how far float32 may be off in either.
    """
    for layer in range(len(row.weights)):
        fan_in, start, units = row.widths[layer], place.starts[layer], row.widths[layer + 1]
        _before(row, case, layer, place)
        for edit in range(count):
            inside = desk.indices[edit] - row.weights[layer]
            if 0 <= inside < units * fan_in:
                unit = start + inside // fan_in
                value, error = _into(row, case, layer, inside % fan_in, place)
                change = np.float64(desk.values[edit]) - row.values[desk.indices[edit]]
                place.sums[unit] += change * value
                place.gross[unit] += abs(change * value)
                place.noise[unit] += (change * error) ** 2
        for unit in range(start, start + units):
            error = np.sqrt((UNITS * place.gross[unit]) ** 2 + place.noise[unit])
            place.errors[unit] = error if error < LIMIT else np.inf  # also where it is NaN
    loss, margin = _judged(place.sums[start:], case)
    own = UNITS * (2 + abs(loss))  # of the loss itself: where the logits are small it is the larger part
    return loss, margin, 2 * place.errors[start:].max() + own


@compiled
def _before(row: Row, case: Case, layer: int, place: Place) -> None:
    """Write what comes out of a layer with its weights as they were before the search."""
    start, fan_in, units = place.starts[layer], row.widths[layer], row.widths[layer + 1]
    for unit in range(units):
        at = start + unit
        place.noise[at] = 0.0
        if layer == 0:
            place.sums[at], place.gross[at] = case.first[unit], case.gross[unit]
        else:
            bias = row.values[row.biases[layer] + unit] if row.biases[layer] >= 0 else 0.0
            place.sums[at], place.gross[at] = bias, abs(bias)
    for source in range(fan_in if layer else 0):
        value, error = _into(row, case, layer, source, place)
        if value == 0 and error == 0:
            continue
        for unit in range(units):
            weight = row.values[row.weights[layer] + unit * fan_in + source]
            place.sums[start + unit] += weight * value
            place.gross[start + unit] += abs(weight * value)
            place.noise[start + unit] += (weight * error) ** 2


@compiled
def _judged(logits: Doubles, case: Case) -> tuple[float, float]:
    """Return cross-entropy and margin of logits (C,)."""
    top = other = -np.inf
    for unit in range(len(logits)):
        logit = logits[unit] + case.offset[unit]
        top = max(top, logit)
        if unit != case.label:
            other = max(other, logit)
    total = 0.0
    for unit in range(len(logits)):
        total += np.exp(logits[unit] + case.offset[unit] - top)
    label = logits[case.label] + case.offset[case.label]
    return np.log(total) + top - label, label - other


@compiled
def _is_moot(row: Row, case: Case, index: int, value: np.float32, place: Place) -> bool:
    """Return whether an update multiplies 0, or leads to a unit that is off."""
    if np.float64(value) == row.values[index]:
        return True
    layer = _layer_of(row, index)
    inside, fan_in = index - row.weights[layer], row.widths[layer]
    unit = place.starts[layer] + inside // fan_in
    if row.rectified[layer] and place.sums[unit] < -place.errors[unit]:
        return True
    into, error = _into(row, case, layer, inside % fan_in, place)
    return bool(into == 0 and error == 0 and np.isfinite(value))


@compiled
def _moot(row: Row, case: Case, index: int, value: np.float32, one: Place, other: Place) -> bool:
    """Return whether an update changes nothing in two networks, in any arithmetic."""
    return _is_moot(row, case, index, value, one) and _is_moot(row, case, index, value, other)


@compiled
def _sorted(row: Row, desk: Desk, count: int) -> int:
    """Have the parameters whose values differ come first on the desk, by index; return how many they are."""
    found = 0
    for place in range(count):
        index, value = desk.indices[place], desk.values[place]
        if np.float64(value) != row.values[index]:
            at = found
            while at > 0 and desk.indices[at - 1] > index:
                desk.indices[at], desk.values[at] = desk.indices[at - 1], desk.values[at - 1]
                at -= 1
            desk.indices[at], desk.values[at] = index, value
            found += 1
    return found


@compiled
def search(
    widths: Integers, weights: Integers, biases: Integers, rectified: Booleans, before: Doubles,
    image: Doubles, first: Doubles, gross: Doubles, offset: Doubles, label: int, gradient: Singles, prior: Singles,
    harmful: Booleans, numbers: Doubles,
    rule: int, number: np.float32, redraws: int, subset_size: int, iterations: int, expansion: int,
    replace_probability: float, prune: bool, stops: bool, printed: bool,
    indices: Integers, updated: Singles, said: Doubles, ends: Integers,
) -> Iterator[int]:  # fmt: skip
    """Search and prune; see `SubsetSearch.correct` and `Search.steps`, which this follows step by step.

    Args: those of a `Row`, a `Case`, a `How` and a `Desk`, in order; numba takes half as long over them one by one.

    Yields:
        How many parameters of the desk are updated in a network that the search asks about, whose loss and verdict
        have to stand in `Desk.said` when it goes on.
    """
    row = Row(widths, weights, biases, rectified, before)
    case = Case(image, first, gross, offset, label, gradient, prior, harmful, numbers)
    how = How(
        rule, number, redraws, subset_size, iterations, expansion, replace_probability, prune, stops, printed
    )
    desk = Desk(indices, updated, said, ends)
    size, blocks = len(prior), (len(prior) + BLOCK - 1) // BLOCK
    state, sums = np.zeros(size, np.int8), np.empty(blocks)
    table = _Table(prior, state, sums, np.empty(2), numbers, np.zeros(1, np.int64))
    _tabulate(table)
    end, subset, values = desk.end, desk.indices, desk.values
    end[:] = 0
    if not np.isfinite(table.left[0]):
        end[0] = INFINITE
        return
    if not table.left[0] > 0:
        end[0] = NOTHING
        return
    now, then, bare = _place(row), _place(row), _place(row)  # of the network at hand, and of two candidates
    fresh = np.empty(len(subset), np.int64)
    count = _drawn(table, case.harmful, how.redraws, how.subset_size, subset)
    for place in range(count):
        values[place] = _updated(row, case, how, subset[place])
    passes, step = 1, 0
    loss, margin, slack = _look(row, case, desk, count, now)
    known, own_loss, own_right = False, 0.0, False  # what the network at hand says itself, once it was asked
    while True:
        right, last = margin > 0, step == how.iterations
        if not abs(margin) > slack and (last or how.stops):
            if not known:
                yield count
                known, own_loss, own_right = True, desk.said[0], desk.said[1] > 0
            right = own_right
        if last or (right and how.stops):
            break
        step += 1
        if not _uniform(table) < how.replace_probability:
            more = _drawn(table, case.harmful, how.redraws, how.expansion, subset[count:])
            for place in range(count, count + more):
                values[place] = _updated(row, case, how, subset[place])
            count += more
            passes += 1
            loss, margin, slack = _look(row, case, desk, count, now)
            known = False
            continue
        drawn = _drawn(table, case.harmful, how.redraws, count, fresh)
        if how.printed:
            passes += 2 * drawn + 1
            for place in range(drawn):
                index, value = subset[place], values[place]
                subset[count], values[count] = fresh[place], _updated(row, case, how, fresh[place])
                new_loss, _, new_slack = _look(row, case, desk, count + 1, then)
                subset[place], values[place] = subset[count - 1], values[count - 1]
                old_loss, _, old_slack = _look(row, case, desk, count - 1, bare)
                subset[place], values[place] = index, value
                lower = new_loss < old_loss
                if not abs(new_loss - old_loss) > new_slack + old_slack:
                    lower = False
                    if not (
                        _moot(row, case, index, value, then, bare)
                        and _moot(row, case, subset[count], values[count], then, bare)
                    ):
                        yield count + 1
                        own_loss = desk.said[0]
                        subset[place], values[place] = subset[count - 1], values[count - 1]
                        yield count - 1
                        subset[place], values[place] = index, value
                        lower = own_loss < desk.said[0]
                if lower:
                    subset[place], values[place] = subset[count], values[count]
            loss, margin, slack = _look(row, case, desk, count, now)
            known = False
            continue
        passes += drawn
        for place in range(drawn):
            index, value = subset[place], values[place]
            subset[place], values[place] = fresh[place], _updated(row, case, how, fresh[place])
            new_loss, new_margin, new_slack = _look(row, case, desk, count, then)
            lower, asked = new_loss < loss, False
            if not abs(new_loss - loss) > slack + new_slack:
                lower = False
                if not (
                    _moot(row, case, index, value, now, then)
                    and _moot(row, case, subset[place], values[place], now, then)
                ):
                    if not known:
                        other, changed = subset[place], values[place]
                        subset[place], values[place] = index, value
                        yield count
                        known, own_loss, own_right = True, desk.said[0], desk.said[1] > 0
                        subset[place], values[place] = other, changed
                    yield count
                    lower, asked = desk.said[0] < own_loss, True
            if lower:
                loss, margin, slack = new_loss, new_margin, new_slack
                now, then = then, now
                known = asked
                if asked:
                    own_loss, own_right = desk.said[0], desk.said[1] > 0
            else:
                subset[place], values[place] = index, value
    if right and how.prune:
        passes += count
        place = 0
        for _ in range(count):
            index, value = subset[place], values[place]
            for later in range(place + 1, count):
                subset[later - 1], values[later - 1] = subset[later], values[later]
            loss, margin, slack = _look(row, case, desk, count - 1, now)
            without = margin > 0
            if not abs(margin) > slack:
                yield count - 1
                without = desk.said[1] > 0
            if without:
                count -= 1
                continue
            for later in range(count - 1, place, -1):
                subset[later], values[later] = subset[later - 1], values[later - 1]
            subset[place], values[place] = index, value
            place += 1
    end[0] = SHORT if _short(table) else CORRECTED if right else WRONG
    end[1], end[2], end[3], end[4] = step, count, passes, _sorted(row, desk, count)
