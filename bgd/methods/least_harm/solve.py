"""The least harm that a given support can do it with: min v(d) subject to the sample's margin, d on the support.

Sequential quadratic programming (Nocedal and Wright, 2006, ch. 18): harm by its Gauss-Newton model, the softened margin
m(d) by its tangent a. The step of min g's + s'Hs / 2 subject to m + a's >= margin is

    s = -H^-1 g + lam H^-1 a,   lam = max(0, (margin - m + a'H^-1 g) / (a'H^-1 a)),

taken as far as it lowers the exact penalty function v(d) + nu max(0, margin - m(d)), nu = 2 lam. Where parameters have
a room to stay in, one that would leave it goes to its end, and the step of the others is the best beside it. In the end
d is scaled to the smallest multiple that makes the sample right: true network, true margin.
"""

from dataclasses import dataclass

import numpy as np
import torch

from bgd.methods.least_harm.harm import INFINITE, Cost, Harm, Model
from bgd.methods.least_harm.tail import Support
from bgd.methods.least_harm.target import MARGIN, Room, Target

DAMPING = 1e-3  # of H, relative to its diagonal
SHORTER = 0.4  # factor on a step that does not lower the penalty function
TRIES = 7  # lengths of a step
ENOUGH = 1e-3  # relative decrease below which the iteration ends
DIRECT = 512  # parameters up to which H is held and factored; beyond, conjugate gradients
CONJUGATE = 60  # of their iterations at most
RESIDUAL = 1e-2  # relative, at which they end


@dataclass(frozen=True, eq=False)
class Solution:
    """A change that makes the sample right, and what it costs.

    Attributes:
        support: The parameters.
        change: What is added to them (k,), float32.
        cost: Its harm.
    """

    support: Support
    change: torch.Tensor
    cost: Cost


def solve(
    harm: Harm,
    target: Target,
    support: Support,
    start: torch.Tensor,
    iterations: int,
    room: Room | None = None,
) -> Solution | None:
    """Return a change of a support's parameters of little harm that makes the sample right; None where none was found.

    Within a room, a change that does not is returned too, with infinite harm: with more parameters it may go on.

    Args:
        harm: What a change costs.
        target: The sample.
        support: The parameters (k).
        start: Where to start from (k,); it need not make the sample right.
        iterations: Quadratic programs at most.
        room: Between which changes each parameter (k,) is to stay, for up to `DIRECT` of them; None for any.
    """
    change = start.double() if room is None else start.double().clamp(*room)
    value, (margin, rise) = harm.cost(support, change).value, target.rise(support, change)
    for _ in range(iterations):
        model = harm.model(support, change)
        left = None if room is None else (room[0] - change, room[1] - change)
        step, price = _program(model, support, rise, MARGIN - margin, left)
        penalty = 2 * price + 1e-3 * value
        merit = value + penalty * max(0.0, MARGIN - margin)
        taken = _taken(harm, target, support, change, step, penalty, merit)
        if taken is None:
            break
        change, lower = taken
        value, (margin, rise) = harm.cost(support, change).value, target.rise(support, change)
        if merit - lower < ENOUGH * merit:
            break
    return scaled(harm, target, support, change.float(), room)


def scaled(
    harm: Harm, target: Target, support: Support, change: torch.Tensor, room: Room | None = None
) -> Solution | None:
    """Return a change (k,) scaled to the smallest multiple that makes the sample right; None where there is none."""
    if not torch.isfinite(change).all() or not change.any():
        return None
    enough = target.smallest(support, change, room)
    if enough is None:
        return None if room is None else Solution(support, change, Cost(INFINITE))
    cost = harm.cost(support, enough)
    return Solution(support, enough, cost) if cost.value < float("inf") else None


def _taken(
    harm: Harm,
    target: Target,
    support: Support,
    change: torch.Tensor,
    step: torch.Tensor,
    penalty: float,
    merit: float,
) -> tuple[torch.Tensor, float] | None:
    """Return the change after the longest step that lowers the merit, and the merit there; None where none does."""
    if not torch.isfinite(step).all():
        return None
    for power in range(TRIES):
        ahead = change + SHORTER**power * step
        penalized = penalty * max(0.0, MARGIN - target.softened(support, ahead))
        lower = harm.cost(support, ahead, merit - penalized).value + penalized
        if lower < merit * (1 - 1e-9):
            return ahead, lower
    return None


def _program(
    model: Model, support: Support, rise: torch.Tensor, need: float, room: Room | None = None
) -> tuple[torch.Tensor, float]:
    """Return the step (k,) of the quadratic program and the multiplier of its constraint."""
    a = rise[support.indices].double()
    if len(support) <= DIRECT:
        g, matrix = model.on(support)
        own = matrix.diagonal()
        own += DAMPING * own + 1e-9 * own.mean() + 1e-30
        if room is not None:
            return _in_room(matrix, g, a, need, room)
        by_g, by_a = solved(matrix, torch.stack([g, a], 1)).T
    else:
        g = model.gradient()[support.indices].double()
        by_g, by_a = (_conjugate(model, support, right) for right in (g, a))
    return _step(g, a, by_g, by_a, need)


def _in_room(
    matrix: torch.Tensor, g: torch.Tensor, a: torch.Tensor, need: float, room: Room
) -> tuple[torch.Tensor, float]:
    """Return `_step` of the parameters that have room for it, beside the others at the ends of theirs.

    One that is at an end stays there, so that it takes as many rounds as there are parameters at most.
    """
    step, price = torch.zeros_like(g), 0.0
    free = torch.ones_like(g, dtype=torch.bool)
    while free.any():
        others = step[~free]
        g_free, a_free = g[free] + matrix[free][:, ~free] @ others, a[free]
        by_g, by_a = solved(matrix[free][:, free], torch.stack([g_free, a_free], 1)).T
        step[free], paid = _step(g_free, a_free, by_g, by_a, need - float(a[~free] @ others))
        price = max(price, paid)
        over = free & ((step < room[0]) | (step > room[1]))
        if not over.any():
            break
        step[over] = step.clamp(*room)[over]
        free &= ~over
    return step, price


def _step(
    g: torch.Tensor, a: torch.Tensor, by_g: torch.Tensor, by_a: torch.Tensor, need: float
) -> tuple[torch.Tensor, float]:
    """Return the step (k,) and the multiplier, given H^-1 g and H^-1 a."""
    along = float(a @ by_a)
    price = max(0.0, (need + float(a @ by_g)) / along) if along > 0 else 0.0
    return -by_g + price * by_a, price


def solved(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return `torch.linalg.solve`, by numpy on the CPU: a tenth of the time for ten unknowns. NaN for no solution."""
    if matrix.device.type != "cpu":
        found: torch.Tensor = torch.linalg.solve(matrix, right)
        return found
    try:
        return torch.from_numpy(np.linalg.solve(matrix.numpy(), right.numpy()))
    except np.linalg.LinAlgError:
        return torch.full_like(right, torch.nan)


def _conjugate(model: Model, support: Support, right: torch.Tensor) -> torch.Tensor:
    """Return x with H x = right on a support (k,), by conjugate gradients with the diagonal as preconditioner."""
    diagonal = model.diagonal()
    scale, vector = diagonal[support.indices].double(), torch.zeros_like(diagonal)

    def times(x: torch.Tensor) -> torch.Tensor:
        vector[support.indices] = x.to(vector.dtype)
        return model.multiply(vector)[support.indices].double() + DAMPING * scale * x

    x, residual = torch.zeros_like(right), right.clone()
    towards = residual / scale
    direction, before = towards, float(residual @ towards)
    limit = RESIDUAL**2 * before
    for _ in range(CONJUGATE):
        if before <= limit or before == 0:
            break
        product = times(direction)
        length = before / float(direction @ product)
        x, residual = x + length * direction, residual - length * product
        towards = residual / scale
        now = float(residual @ towards)
        direction, before = towards + now / before * direction, now
    return x
