"""Steps by rows against whole steps, and against torch's own optimizer."""

import pytest
import torch
from conftest import known
from oracles import widened

from bgd import rng
from bgd.methods import momentum
from bgd.methods.anchored import KeepSetDivergence
from bgd.methods.base import Problem
from bgd.methods.descent import Optimizer, SampleDescent
from bgd.methods.momentum import NOTHING, Hold, RowSteps, WholeSteps, by_rows

STEPS = 5


def copy_after(kind, problem, sample, hold, penalty=None):
    """The copy's parameters after some steps, and what it said at each."""
    stream = rng.stream(1)
    with problem.trying() as trial:
        trial.scratch("velocity").fill_(torch.nan)  # whatever an earlier trial left
        descent, said = kind(trial, 1e-3, 0.9, hold), []
        for step in range(STEPS):
            more = penalty.gradient(trial, stream) if penalty and step else NOTHING
            assert descent.take(sample, more)
            said.append(descent.answer(sample).loss)
        return trial.flat.clone(), torch.tensor(said, dtype=torch.double), trial.forward_passes


def holds(problem):
    with rng.torch_seeded(rng.stream(4)):
        stiffness = torch.rand(problem.original.numel()).to(problem.original)
    return [Hold(), Hold(3.0), Hold(3.0, stiffness)]


@pytest.fixture
def wide(trained, samples):
    network, wide_samples = widened(trained, samples)
    return Problem(network), wide_samples


@pytest.mark.parametrize("at", range(3))
def test_steps_by_rows_are_whole_steps(at, wide):
    problem, samples = wide
    hold = holds(problem)[at]
    for sample in samples[:4]:
        fast, losses, passes = copy_after(RowSteps, problem, sample, hold)
        slow, wanted, counted = copy_after(WholeSteps, problem, sample, hold)
        assert (slow != problem.original).any()
        assert torch.allclose(fast, slow, rtol=1e-12, atol=1e-14)
        assert torch.allclose(losses, wanted, rtol=1e-10)
        assert passes == counted == 2 * STEPS


def test_a_penalty_of_many_images_moves_every_row(trained, tiny, samples):
    problem = Problem(trained, known(trained, tiny))
    penalty = KeepSetDivergence(3.0, keep=40, batch=10)
    with problem.trying() as trial:
        penalty.hold(trial)
    found = [copy_after(kind, problem, samples[0], Hold(), penalty)[0] for kind in (RowSteps, WholeSteps)]
    assert torch.allclose(*found, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("l1", [0.0, 0.01])
@pytest.mark.parametrize("training", [False, True])
def test_steps_by_rows_are_those_of_torchs_optimizer(l1, training, trained_alexnet, tiny):
    """Also with dropout, drawn alike."""
    from experiments.mnist import training as training_of
    from experiments.protocol.samples import samples_of

    sample = samples_of(*tiny.test.tensors(), training_of.misclassified(trained_alexnet, tiny), 1)[0]
    problem, options = Problem(trained_alexnet), SampleDescent(l1=l1, training_mode=training)

    def after(make):
        with problem.trying() as trial, rng.torch_seeded(rng.stream(2)):
            chosen = dict(trial.network.named_parameters())
            descent = make(trial, chosen)
            for _ in range(3):
                descent.take(sample)
                descent.answer(sample)
            assert not trial.network.training
            return trial.flat.clone()

    fast = after(lambda trial, chosen: RowSteps(trial, 0.001, 0.9, Hold(shrink=l1), chosen, training))
    slow = after(lambda trial, chosen: Optimizer(trial, options, chosen))
    assert torch.allclose(fast, slow, rtol=1e-5, atol=1e-7)
    assert (fast != problem.original).any()


def test_what_is_frozen_and_what_is_not_chosen_stays(trained, samples):
    trained.lin1.weight.requires_grad_(False)
    try:
        problem = Problem(trained)
    finally:
        trained.lin1.weight.requires_grad_(True)
    after = copy_after(RowSteps, problem, samples[0], Hold(3.0))[0]
    changed = {name for name in problem.current.space.names if moved(problem, after, name)}
    assert changed == set(problem.current.space.names) - {"lin1.weight"}
    with problem.trying() as trial:
        chosen = {"lin2.bias": trial.network.lin2.bias}
        RowSteps(trial, 1e-3, 0.9, Hold(), chosen).take(samples[0])
        assert moved(problem, trial.flat, "lin2.bias")
        assert not moved(problem, trial.flat, "lin3.bias")


def moved(problem, after, name):
    span = problem.current.space.span(name)
    return bool((after[span] != problem.original[span]).any())


def test_a_gradient_that_is_not_finite_is_said(trained, samples):
    with torch.no_grad():
        kept = trained.lin3.weight.clone()
        trained.lin3.weight.fill_(torch.nan)
    try:
        problem = Problem(trained)
    finally:
        trained.lin3.weight.data = kept
    with problem.trying() as trial:
        assert not RowSteps(trial, 1e-3, 0.9, Hold(1.0)).take(samples[0])


def test_rows_are_for_large_rows_of_layers_on_the_cpu(trained, trained_alexnet, monkeypatch):
    with Problem(trained_alexnet).trying() as trial:
        monkeypatch.setattr(momentum, "SMALLEST", trial.space.size)
        assert by_rows(trial)
        handle = trial.network.lin1.register_forward_hook(lambda *_: None)
        assert not by_rows(trial)
        handle.remove()
        monkeypatch.setattr(momentum, "SMALLEST", trial.space.size + 1)
        assert not by_rows(trial)
