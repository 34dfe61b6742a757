"""Rehearsal: trained with each sample, for what N0 said and for the samples so far; all parameters or a few."""

import pytest
import torch
from conftest import known
from oracles import is_right, with_parameters

from bgd import rng
from bgd.methods.base import Problem
from bgd.methods.least_harm.row import Spread
from bgd.methods.least_harm.settle import Objective, answers, descended, outputs
from bgd.methods.least_harm.tail import Tail
from bgd.methods.rehearsal import Rehearsal
from experiments.mnist import training
from experiments.protocol.samples import samples_of

SPREAD = Spread(images=60, widened=False)
METHOD = Rehearsal(spread=SPREAD, steps=30, rate=0.01, batch=40)


@pytest.fixture
def problem(trained, tiny):
    return Problem(trained, known(trained, tiny))


@pytest.fixture
def chosen(trained, tiny):
    return samples_of(*tiny.test.tensors(), training.misclassified(trained, tiny), 3)


@pytest.fixture
def tail(problem, chosen):
    with problem.trying() as trial:
        return Tail(trial.network, trial.space, 20000, chosen[0].image)


def in_a_row(method, problem, samples):
    for sample in samples:
        found = problem.correct(method, sample, rng.stream(0, "method", sample.index))
        problem.carry = found.carry
        if found.patch is not None:
            problem.advance(found.patch)
        yield found


@pytest.mark.parametrize("budget", [None, 5])
def test_each_sample_is_right_at_its_turn_within_the_budget(trained, problem, chosen, budget):
    for number, found in enumerate(
        in_a_row(Rehearsal(**vars(METHOD) | {"budget": budget}), problem, chosen), 1
    ):
        assert found.patch is not None, found.reason
        assert is_right(with_parameters(trained, problem.original), chosen[number - 1])
        assert len(found.patch) <= (budget or len(problem.original))
        assert found.carry == tuple(chosen[:number])


def test_a_sample_that_stays_wrong_is_a_failure_in_words(problem, chosen):
    method = Rehearsal(spread=SPREAD, steps=1, rate=1e-9, batch=5, tries=2)
    found = problem.correct(method, chosen[0], rng.stream(0, "method", 0))
    assert (found.patch, found.reason, found.carry) == (None, "wrong after 2 steps", ())


def test_the_objective_is_divergence_and_hinge(trained, problem, tail, chosen, tiny):
    """Against the network itself, image by image."""
    images = tiny.held_out.tensors()[0][:7]
    with problem.trying() as trial:
        inputs = tail.inputs(images)
        before = outputs(inputs, tail.weights(trial.original))
        moved = trial.original + 0.01 * torch.randn(
            len(trial.original), generator=torch.Generator().manual_seed(0)
        )
        weights = torch.tensor([0.5, 2.0, 1.0])
        objective = Objective(tail, inputs, answers(before), chosen, weights, lead=3.0)
        found = float(objective(moved[tail.places], torch.arange(7)))
    network = with_parameters(trained, moved)
    with torch.no_grad():
        old, new = trained(images).log_softmax(1), network(images).log_softmax(1)
        wanted = float((old.exp() * (old - new)).sum(1).mean())
        for weight, sample in zip(weights, chosen, strict=True):
            logits = network(sample.image)[0]
            own = logits[sample.label[0]].clone()
            logits[sample.label[0]] = -torch.inf
            wanted += float(weight * (3.0 - own + logits.max()).clamp_min(0))
    assert found == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("scope", [20000, 200], ids=["every layer", "the last layer"])
@pytest.mark.parametrize("lead", [0.1, 3.0, -100.0])
def test_its_gradient_is_that_of_autograd(problem, chosen, tiny, scope, lead):
    with problem.trying() as trial:
        tail = Tail(trial.network, trial.space, scope, chosen[0].image)
        inputs = tail.inputs(tiny.held_out.tensors()[0][:40])
        wanted = answers(outputs(inputs, tail.weights(trial.original)))
        start = trial.original[tail.places].clone()
    stream, weights = torch.Generator().manual_seed(0), torch.tensor([0.5, 2.0, 1.0])
    for weight in (weights, 0.7):
        objective = Objective(tail, inputs, wanted, chosen, weight, lead)
        for drawn in objective.drawn(2, 30, rng.stream(0, "x")):
            at = start + 0.05 * torch.randn(len(start), generator=stream)
            at.requires_grad_()
            (slope,) = torch.autograd.grad(objective(at, drawn), at)
            found = objective.slope(at.detach(), drawn)
            assert torch.allclose(found, slope, rtol=1e-4, atol=1e-5 * float(slope.abs().max()))


def test_only_free_parameters_descend(problem, tail, chosen, tiny):
    with problem.trying() as trial:
        inputs = tail.inputs(tiny.held_out.tensors()[0][:20])
        start = trial.original[tail.places].clone()
        wanted = answers(outputs(inputs, tail.weights(trial.original)))
        objective = Objective(tail, inputs, wanted, chosen, 1.0, 1.0)
        batches = objective.drawn(20, 20, rng.stream(0, "x"))
        free = torch.zeros_like(start)
        free[-4:] = 1.0
        some, every = (descended(objective, start, batches, 0.01, mask) for mask in (free, None))
        everything = torch.arange(20)
        values = [float(objective(each, everything)) for each in (every, some, start)]
    assert torch.equal(some[:-4], start[:-4])
    assert not torch.equal(some[-4:], start[-4:])
    assert values == sorted(values)


def test_images_like_the_sample_are_asked_for_with_it_alone(problem, chosen):
    gentle = vars(METHOD) | {"rate": 0.002, "degrees": 30.0, "noise": 1.0, "weight": 0.05}
    asked = Rehearsal(**gentle | {"likenesses": 4})
    alike = [like for sample in chosen for like in asked._alike(sample, rng.stream(0, "x", sample.index))]
    assert len(alike) == 12
    assert all(like.image.shape == chosen[0].image.shape for like in alike)
    leads = []
    for method in (Rehearsal(**gentle), asked):
        found = problem.correct(method, chosen[0], rng.stream(0, "x", chosen[0].index))
        assert found.carry == (chosen[0],)
        network = with_parameters(problem.current.module, patched(problem, found.patch))
        logits = torch.cat([network(like.image) for like in alike[:4]]).detach()
        own = logits[:, int(chosen[0].label)].clone()
        logits[:, int(chosen[0].label)] = -torch.inf
        leads.append(float((own - logits.amax(1)).min()))
    assert leads[0] < 0 < leads[1]


def patched(problem, patch):
    flat = problem.original.clone()
    patch.apply(flat)
    return flat


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "budget=0: must be at least 1"),
        ({"tries": 0}, "tries=0"),
        ({"noise": -1.0}, r"noise=-1\.0: must be at least 0"),
        ({"lead": 0.0}, r"lead=0\.0: must"),
    ],
)
def test_values_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Rehearsal(**options)


@pytest.mark.parametrize("budget", [None, 5])
def test_a_look_at_the_sample_is_a_pass(problem, chosen, monkeypatch, budget):
    looks, plain = [], Objective.slope
    monkeypatch.setattr(Objective, "slope", lambda *given: looks.append(1) or plain(*given))
    with problem.trying() as trial:
        found = Rehearsal(**vars(METHOD) | {"budget": budget}).correct(trial, chosen[0], rng.stream(0))
    tries = found.steps // METHOD.steps
    assert (trial.forward_passes, trial.backward_passes) == (len(looks) + tries, len(looks))
