"""The sample that is to be made right, against running the whole network with each change written in."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from small_tails import (
    WIDE,
    margin_of,
    network,
    rewritten,
    run,
    support_of,
    tail_of,
    target_of,
    vector_of,
    wrong_samples,
)

from bgd.methods.least_harm import target as module
from bgd.methods.least_harm.target import GRID, MARGIN, MULTIPLES, ROUNDS

SHAPES = [(WIDE, True), (WIDE, False), ((4, 3), True), ((6, 5, 2), True)]


def margin_after(made, tail, sample, indices, change):
    return margin_of(rewritten(made, tail, tail.support(indices.contiguous()), change), sample)


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
def test_margins_are_those_of_the_networks_with_the_edits_written_in(sizes, bias):
    made = network(sizes, bias)
    tail = tail_of(made)
    for sample in wrong_samples(made, 3, sizes):
        target, trial = target_of(made, tail, sample)
        for size in (1, 2, 7):
            pairs = [support_of(tail, seed, size) for seed in range(5)]
            indices = torch.stack([support.indices for support, _ in pairs], dim=1)
            changes = torch.stack([change for _, change in pairs], dim=1)
            before = trial.forward_passes
            found = target.margins(indices, changes)
            assert trial.forward_passes == before + 5
            wanted = [
                margin_after(made, tail, sample, *pair) for pair in zip(indices.T, changes.T, strict=True)
            ]
            assert found.tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-11)


def test_a_logit_that_is_not_finite_is_the_worst_margin():
    made = network(dtype=torch.float32)
    tail = tail_of(made)
    sample = wrong_samples(made, 1)[0]
    target, _ = target_of(made, tail, sample)
    bias = tail.size - WIDE[-1] + int(sample.label)
    for value in (float("inf"), float("nan"), float("-inf")):
        changes = torch.tensor([[value, 1.0]]).double()
        assert target.margins(torch.full((1, 2), bias), changes).isneginf().tolist() == [True, False]


def bracket_below(factor):
    """By how much smaller the multiple is at which the network was seen to be wrong."""
    above = next(multiple for multiple in MULTIPLES if multiple >= factor * (1 - 1e-12))
    below = max([0.0, *(multiple for multiple in MULTIPLES if multiple < above)])
    return (above - below) / GRID**ROUNDS


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
def test_the_smallest_multiple_is_right_and_slightly_below_is_wrong(sizes, bias):
    made = network(sizes, bias)
    tail = tail_of(made)
    found = missing = 0
    for sample in wrong_samples(made, 4, sizes):
        target, _ = target_of(made, tail, sample)
        for seed in range(3):
            support, change = support_of(tail, seed, 4)
            smallest = target.smallest(support, change)
            if smallest is None:
                missing += 1
                seen = [
                    margin_after(made, tail, sample, support.indices, change * multiple)
                    for multiple in MULTIPLES
                ]
                assert max(seen) < MARGIN + 1e-9
                continue
            found += 1
            factor = float((smallest @ change) / (change @ change))
            assert torch.allclose(smallest, factor * change, rtol=1e-12)
            assert margin_after(made, tail, sample, support.indices, smallest) >= MARGIN - 1e-9
            below = change * (factor - bracket_below(factor))
            assert margin_after(made, tail, sample, support.indices, below) < MARGIN + 1e-9
    assert found >= 2
    assert missing >= 2


def test_the_smallest_multiple_of_a_known_margin():
    """An output bias: the margin is a line, up to where the next rival leads."""
    made = network(dtype=torch.float64)
    tail = tail_of(made)
    for sample in wrong_samples(made, 6):
        target, _ = target_of(made, tail, sample)
        support = tail.support(torch.tensor([tail.size - WIDE[-1] + int(sample.label)]))
        need = MARGIN - margin_of(made, sample)
        for guess in (0.1, 1.0, 3.9):
            found = float(target.smallest(support, torch.tensor([need / guess]).double())[0])
            assert need <= found * (1 + 1e-12)
            assert found <= need * (1 + bracket_below(guess) / guess + 1e-9)
        assert target.smallest(support, torch.tensor([-need]).double()) is None
        assert target.smallest(support, torch.tensor([need / 31]).double()) is None, "no multiple above 30"


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
def test_the_smallest_change_of_each_parameter_agrees_with_a_scan(sizes, bias):
    made = network(sizes, bias)
    tail, seen = tail_of(made), 0
    multiples = np.linspace(0, MULTIPLES[-1], 601)
    for sample in wrong_samples(made, 3, sizes):
        target, _ = target_of(made, tail, sample)
        draw = np.random.default_rng(0)
        indices = torch.from_numpy(draw.choice(tail.size, min(20, tail.size), replace=False))
        _, rise = target.rise(tail.support(indices[:0]), torch.empty(0))
        upwards = np.where(rise[indices].numpy() < 0, -1, 1)
        changes = torch.from_numpy(upwards * (0.1 + draw.random(len(indices))))
        smallest = target.smallest_alone(indices, changes)
        assert smallest.dtype == torch.float64
        for index, change, found in zip(indices, changes, smallest.tolist(), strict=True):
            scan = torch.from_numpy(multiples) * change
            margins = run_many(made, tail, sample, index, scan)
            right = np.flatnonzero(margins >= MARGIN)
            if not np.isfinite(found):
                coarse = run_many(made, tail, sample, index, torch.tensor(MULTIPLES).double() * change)
                assert (coarse < MARGIN + 1e-9).all()
                continue
            seen += 1
            factor = found / float(change)
            assert margin_after(made, tail, sample, index[None], torch.tensor([found])) >= MARGIN - 1e-9
            step = multiples[1] + bracket_below(factor)
            above = next(multiple for multiple in MULTIPLES if multiple >= factor * (1 - 1e-12))
            if (np.diff(right) == 1).all() and multiples[right[-1]] >= above:  # one stretch, seen by the grid
                assert abs(multiples[right[0]] - factor) <= step
            else:
                assert multiples[right[0]] <= factor + step
    assert seen >= 10


def run_many(made, tail, sample, index, changes):
    """The network's margins with one parameter changed by each of some values."""
    vectors = vector_of(made, tail).repeat(len(changes), 1)
    vectors[:, index] += changes
    with torch.no_grad():
        logits = torch.func.vmap(lambda vector: run(made, tail, vector, sample.image)[0])(vectors)
    label = int(sample.label)
    rivals = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
    return (logits[:, label] - rivals.amax(1)).numpy()


def test_a_dead_unit_has_no_smallest_change():
    made = network()
    with torch.no_grad():
        made.lin1.bias[2] = -1e3
    tail = tail_of(made)
    dead = torch.arange(2 * WIDE[0], 3 * WIDE[0])  # the weights into it
    for sample in wrong_samples(made, 2):
        target, _ = target_of(made, tail, sample)
        assert target.smallest_alone(dead, torch.ones(len(dead)).double()).isinf().all()
        assert target.smallest(tail.support(dead), torch.ones(len(dead)).double()) is None


@pytest.mark.parametrize("sizes", [WIDE, (4, 3), (6, 5, 2)])
def test_the_softened_margin_is_below_the_margin_and_converges_to_it(sizes, monkeypatch):
    made = network(sizes)
    tail = tail_of(made)
    for sample in wrong_samples(made, 4, sizes):
        target, trial = target_of(made, tail, sample)
        support, change = support_of(tail, 0, 3)
        margin, gaps = margin_after(made, tail, sample, support.indices, change), []
        for temperature in (1.0, 0.1, 0.01, 1e-4):
            monkeypatch.setattr(module, "TEMPERATURE", temperature)
            before = trial.forward_passes
            gap = margin - target.softened(support, change)
            assert trial.forward_passes == before + 1
            assert -1e-9 <= gap <= temperature * np.log(sizes[-1] - 1) + 1e-9
            gaps.append(gap)
        assert all(later <= sooner + 1e-9 for sooner, later in pairwise(gaps))


@pytest.mark.parametrize(("sizes", "bias"), SHAPES)
@pytest.mark.parametrize("size", [0, 1, 5])
def test_the_rise_is_the_gradient_of_the_softened_margin(sizes, bias, size):
    made = network(sizes, bias)
    tail = tail_of(made)
    for sample in wrong_samples(made, 3, sizes):
        target, trial = target_of(made, tail, sample)
        support, change = support_of(tail, 1, size)
        vector = vector_of(made, tail, support, change).requires_grad_()
        logits, label = run(made, tail, vector, sample.image)[0], int(sample.label)
        rivals = torch.cat([logits[:label], logits[label + 1 :]])
        margin = logits[label] - module.TEMPERATURE * (rivals / module.TEMPERATURE).logsumexp(0)
        (wanted,) = torch.autograd.grad(margin, vector)
        found, rise = target.rise(support, change)
        assert found == pytest.approx(float(margin.detach()), rel=1e-9)
        assert found == target.softened(support, change)
        assert torch.allclose(rise, wanted, rtol=1e-9, atol=1e-12)
        assert (trial.forward_passes, trial.backward_passes) == (2, 1)
