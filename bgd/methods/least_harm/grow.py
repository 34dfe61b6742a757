"""Which parameters to change: all single ones, then the best to add to those there are."""

import torch

from bgd.methods.least_harm.harm import INFINITE, Harm, Model
from bgd.methods.least_harm.solve import DAMPING, Solution, solved
from bgd.methods.least_harm.tail import Support, Tail
from bgd.methods.least_harm.target import MARGIN, Target

FLAT = 1e-6  # logits per unit below which a parameter does not move the sample: a dead unit's
SCHUR = 1e-2  # lowest share of its own curvature that a parameter keeps beside the others
COLUMNS = 32  # most parameters whose coupling with all others is looked at


def alone(
    harm: Harm, target: Target, tail: Tail, most: int, each: int, limited: bool = False
) -> list[Solution]:
    """Return single parameters that make the sample right, each with its smallest step, by rising harm.

    Every parameter j has a step s = (margin - m) / a_j by the tangent a of the margin, and by the model of harm a cost
    g_j s + H_jj s^2 / 2. The `most` cheapest, and the `each` cheapest of each layer, are looked at in truth. Where none
    of them does it, those that lower the rival leave another one in front: then the right class's own are, which raise
    it above all. If `limited`, only those whose step keeps to the limits of the sample's weights.
    """
    none, nothing = tail.nothing()
    margin, rise = target.rise(none, nothing)
    model = harm.model(none, nothing)
    step = (MARGIN - margin) / torch.where(rise.abs() < FLAT, torch.nan, rise)
    cost = (model.gradient() + 0.5 * model.diagonal() * step) * step
    cost[~torch.isfinite(cost)] = torch.inf
    if limited:
        cost[target.beyond(tail.support(torch.arange(tail.size, device=step.device)), step)] = torch.inf
    chosen = [_cheapest(cost, 0, tail.size, most)]
    chosen += [_cheapest(cost, layer.start, layer.start + layer.size, each) for layer in tail.layers]
    indices = torch.unique(torch.cat(chosen))
    found = _in_truth(harm, target, tail, indices[cost[indices].argsort(stable=True)], step)
    if found:
        return found
    own = target.own
    return _in_truth(harm, target, tail, own[_cheapest(cost[own], 0, len(own), most)], step)


def _in_truth(
    harm: Harm, target: Target, tail: Tail, indices: torch.Tensor, step: torch.Tensor
) -> list[Solution]:
    """Return those of some parameters (K,) that make the sample right along their steps (P,), by rising harm.

    Of those that are not the first, no more is known of the harm than that it is larger.
    """
    if not len(indices):
        return []
    changes = target.smallest_alone(indices, step[indices].double())
    found, least = [], INFINITE
    for index, change in zip(torch.split(indices, 1), torch.split(changes, 1), strict=True):
        if torch.isfinite(change):
            support, value = tail.support(index), change.float()
            cost = harm.cost(support, value, least)
            least = min(least, cost.value)
            if cost.value < INFINITE:
                found.append(Solution(support, value, cost))
    return sorted(found, key=lambda solution: solution.cost.value)


def _cheapest(cost: torch.Tensor, start: int, stop: int, count: int) -> torch.Tensor:
    part = cost[start:stop]
    found = part.topk(min(count, len(part)), largest=False)
    return found.indices[torch.isfinite(found.values)] + start


def additions(harm: Harm, target: Target, support: Support, change: torch.Tensor, count: int) -> torch.Tensor:
    """Return the `count` parameters, best first, that are best added to a support at a change (k,) of it.

    With S the support and j another parameter, the quadratic program of `solve` on S + {j} has a value in closed form:
    by the Schur complement the part of j that S does not have already is s = H_jj - c'H_SS^-1 c with c = H_Sj, and the
    reduced slopes are a_j - c'H_SS^-1 a_S and g_j - c'H_SS^-1 g_S. Of a large S only the parameters that have
    changed the margin most are looked at for their coupling with j.
    """
    model = harm.model(support, change)
    margin, a = target.rise(support, change)
    g, own = model.gradient().double(), model.diagonal().double()
    a = a.double()
    rest, rise, fall = own, a, g
    raa = rag = rgg = 0.0
    if len(support):
        near, inverse_a, inverse_g, columns, solved = _coupling(model, support, change, a, g)
        rest = torch.maximum(own - (columns * solved).sum(0), SCHUR * own)
        rise, fall = a - columns.T @ inverse_a, g - columns.T @ inverse_g
        raa, rag, rgg = (
            float(a[near] @ inverse_a),
            float(a[near] @ inverse_g),
            float(g[near] @ inverse_g),
        )
    aa, ag, gg = raa + rise * rise / rest, rag + rise * fall / rest, rgg + fall * fall / rest
    short = (MARGIN - margin + ag).clamp_min(0)
    value = 0.5 * short.square() / aa.clamp_min(1e-30) - 0.5 * gg
    value[support.indices] = torch.inf
    value[~torch.isfinite(value)] = torch.inf
    best = value.topk(min(count, len(value) - len(support)), largest=False)
    return best.indices[torch.isfinite(best.values)]


def _coupling(
    model: Model, support: Support, change: torch.Tensor, a: torch.Tensor, g: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return the members of a support that count (c,), H^-1 a and H^-1 g on them, their rows C of H (c, P), H^-1 C."""
    if len(support) > COLUMNS:
        moved = (change.double() * a[support.indices]).abs()
        near = support.indices[moved.topk(COLUMNS).indices]
        support = Support(support.tail, near)
    columns = model.columns(support).double()
    matrix = columns[:, support.indices]
    matrix = 0.5 * (matrix + matrix.T)
    matrix.diagonal().add_(DAMPING * matrix.diagonal().abs() + 1e-30)
    right = torch.cat([a[support.indices, None], g[support.indices, None], columns], dim=1)
    found = solved(matrix, torch.eye(len(support)).to(matrix)) @ right  # far fewer unknowns than columns
    return support.indices, found[:, 0], found[:, 1], columns, found[:, 2:]
