"""The smallest sufficient multiple of a change: on searches and descents, and on a ray whose margin is known."""

from dataclasses import dataclass

import pytest
import torch
from oracles import flat, with_parameters
from torch import nn

from bgd import rng
from bgd.methods.base import Correction, Problem, Sample
from bgd.methods.bgd.prior import LayerNormalisedPrior
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.bgd.update import FirstOrder
from bgd.methods.descent import SampleDescent
from bgd.methods.smallest_step import SmallestStep
from bgd.methods.top_k import TopK
from bgd.patch import Patch

TOLERANCE, MARGIN = 1e-3, 1e-3
INNER = {
    "bgd_i": SubsetSearch(update=FirstOrder(0.05)),
    "bgd_ii": SubsetSearch(),
    "bgd_norm": SubsetSearch(prior=LayerNormalisedPrior()),
    "unpruned": SubsetSearch(prune=False),
    "top_k": TopK(step=0.1),
    "retrain": SampleDescent(steps=20, learning_rate=0.01),
}


def corrected(method, problem, sample):
    """The correction and its trial, with the network checked to be as it was, bit for bit."""
    before = problem.current.flat.clone()
    with problem.trying() as trial:
        correction = method.correct(trial, sample, rng.stream(0, "method", sample.index))
    assert torch.equal(problem.current.flat, before)
    return correction, trial


def margin_at(network, sample, patch, multiple=1.0):
    """By how much the label's logit leads with a multiple of a patch, by running the whole network anew."""
    moved = flat(network)
    change = patch.new.double() - patch.old.double()
    moved[patch.indices] = (patch.old.double() + multiple * change).to(moved.dtype)
    with torch.no_grad():
        logits = with_parameters(network, moved)(sample.image)[0]
    label = int(sample.label)
    others = [float(logits[other]) for other in range(len(logits)) if other != label]
    return float(logits[label]) - max(others)


def assert_same_places(found, whole, dense):
    """A dense change has parts that the multiple rounds away."""
    if not dense:
        assert torch.equal(found.indices, whole.indices)
    assert torch.isin(found.indices, whole.indices).all()
    assert len(found) > 0.9 * len(whole)


@pytest.mark.parametrize("name", INNER)
def test_a_multiple_of_the_inner_change_suffices_and_one_just_below_does_not(name, problem, trained, samples):
    inner, method = INNER[name], SmallestStep(INNER[name], TOLERANCE, MARGIN)
    shrunk = []
    for sample in samples:
        whole, before = corrected(inner, problem, sample)
        found, after = corrected(method, problem, sample)
        assert (found.altered, found.steps, found.reason) == (whole.altered, whole.steps, whole.reason)
        if whole.patch is None:
            assert found.patch is None
            assert after.forward_passes == before.forward_passes
            continue
        assert_same_places(found.patch, whole.patch, dense=name == "retrain")
        change, moved = (each.new.double() - each.old.double() for each in (whole.patch, found.patch))
        change = change[torch.isin(whole.patch.indices, found.patch.indices)]
        alpha = float(moved @ change / (change @ change))
        assert 0 < alpha <= 1 + 1e-9
        assert torch.allclose(
            moved, alpha * change, rtol=1e-5, atol=1e-6 * float(found.patch.new.abs().max())
        )
        least = min(MARGIN, margin_at(trained, sample, whole.patch))
        assert margin_at(trained, sample, found.patch) >= least
        if alpha < 1 - 1e-6:
            below = alpha * (1 - 2 * TOLERANCE)  # alpha itself is known to float32's rounding
            assert margin_at(trained, sample, whole.patch, below) < least
        assert after.forward_passes > before.forward_passes + 1
        assert after.backward_passes == before.backward_passes
        shrunk.append(alpha)
    assert len(shrunk) > len(samples) / 3
    assert min(shrunk) < 0.9, "or this test shows little"


@pytest.mark.parametrize("margin", [0.0, 1e-3, 0.1])
def test_the_margin_is_kept_and_nothing_more(margin, problem, trained, samples):
    method, narrow = SmallestStep(SubsetSearch(prune=False), 1e-4, margin), 0
    for sample in samples:
        whole, _ = corrected(method.inner, problem, sample)
        found, _ = corrected(method, problem, sample)
        if whole.patch is None:
            continue
        own, left = (margin_at(trained, sample, each.patch) for each in (whole, found))
        assert left >= min(margin, own)
        narrow += own > margin + 0.1 and left < margin + 0.05
    assert narrow


def test_passes_are_those_of_the_network(problem, samples, monkeypatch):
    """Of one that is run for each candidate: it is not followed, because of the hook that counts, and has no tape."""
    monkeypatch.setattr("bgd.methods.bgd.followed.is_faithful", lambda *_: False)
    calls = []
    problem.current.module.register_forward_hook(lambda *_: calls.append(1))
    for sample in samples[:4]:
        calls.clear()
        _, trial = corrected(SmallestStep(SubsetSearch()), problem, sample)
        assert trial.forward_passes == len(calls)


# A network with one input, 1, and a margin that is known: with t added to its first three weights it is
# f(t) = -1 + 5 relu(t) - 10 relu(t - 0.3) + 10 relu(t - 0.55): above 0 in (0.2, 0.4) and from 0.7 on.
SAMPLE = Sample(0, torch.ones(1, 1, 1, 1), torch.tensor([1]))


def bumpy():
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.copy_(torch.tensor([0.0, -0.3, -0.55]))
        network[3].weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [5.0, -10.0, 10.0]]))
        network[3].bias.copy_(torch.tensor([0.0, -1.0]))
    return network


@dataclass(frozen=True)
class Fixed:
    """Adds `by` to the first three weights. It leaves the copy in any state that a method may leave it in."""

    by: float
    knows_altered: bool = False

    def draws(self, network):
        return False

    def correct(self, trial, sample, stream):
        indices = torch.arange(3)
        patch = Patch.sparse(trial.space, indices, trial.original[indices], trial.original[indices] + self.by)
        trial.flat[4:] = 77.0
        if self.knows_altered:
            trial.altered = torch.arange(4, trial.space.size)
        return Correction(patch, altered=9, steps=5, carry="momentum")


@pytest.mark.parametrize("knows_altered", [False, True])
@pytest.mark.parametrize(
    ("by", "margin", "wanted"),
    [
        (0.3, 0.0, 0.2),
        (0.3, 0.25, 0.25),
        (1.0, 0.0, 0.7),  # not 0.2: halfway, at 0.5, the sample is wrong
        (3e4, 0.0, 0.7),  # halved fifteen times, past 0.92 to 0.46: wrong
        (3.0, 0.0, 0.2),  # 3, 1.5, 0.75 and 0.375 suffice, 0.1875 does not
        (1e30, 0.0, None),
    ],
)
def test_the_multiple_on_a_ray_whose_margin_goes_up_and_down(by, margin, wanted, knows_altered):
    correction, _ = corrected(SmallestStep(Fixed(by, knows_altered), 1e-4, margin), Problem(bumpy()), SAMPLE)
    reached = correction.patch.new.tolist()
    assert len(set(reached)) == 1
    assert reached[0] == pytest.approx(wanted, rel=2e-4) if wanted else 0.2 <= reached[0] < 0.71
    assert (correction.altered, correction.steps, correction.carry) == (9, 5, "momentum")


@pytest.mark.parametrize("by", [0.2001, 0.3999])
def test_a_margin_that_the_inner_change_does_not_have_is_not_asked_for(by):
    correction, _ = corrected(SmallestStep(Fixed(by), 1e-4, 1e-3), Problem(bumpy()), SAMPLE)
    assert margin_at(bumpy(), SAMPLE, correction.patch) >= min(1e-3, 5 * 0.0001 - 1e-6)
    assert correction.patch.new.tolist() == pytest.approx([0.2001] * 3, rel=1e-3)
    assert bool(torch.all(correction.patch.new <= by + 1e-7))


def test_a_patch_that_is_wrong_is_left_for_others_to_find():
    """Bisection does not make it look right: `Stage` refuses it by the method's name."""
    correction, _ = corrected(SmallestStep(Fixed(0.1)), Problem(bumpy()), SAMPLE)
    assert correction.patch.new.tolist() == pytest.approx([0.1] * 3)


@dataclass(frozen=True)
class Across:
    """Moves the two weights of a path through products that overflow."""

    def correct(self, trial, sample, stream):
        indices = torch.tensor([0, 3])
        patch = Patch.sparse(trial.space, indices, trial.original[indices], torch.tensor([1e-3, 2e38]))
        return Correction(patch, altered=2, steps=1)


def test_logits_that_overflow_on_the_way_do_not_suffice():
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network[1].weight.fill_(1e3)
        network[3].bias[0] = 1.0
    correction, _ = corrected(SmallestStep(Across(), 1e-4), Problem(network), SAMPLE)
    assert margin_at(network, SAMPLE, correction.patch, 0.9) == float("inf")
    assert 0 < margin_at(network, SAMPLE, correction.patch) < float("inf")
    assert float(correction.patch.new[1]) == pytest.approx(0.9983 * 2e38, rel=1e-3)


def test_a_failure_is_the_inner_methods(problem, samples):
    inner = SubsetSearch(update=FirstOrder(1e-9), iterations=2)
    correction, trial = corrected(SmallestStep(inner), problem, samples[0])
    whole, before = corrected(inner, problem, samples[0])
    assert correction == whole
    assert correction.reason == "wrong after 2 iterations"
    assert trial.forward_passes == before.forward_passes


def test_it_draws_where_the_inner_method_does(trained):
    assert SmallestStep(SubsetSearch()).draws(trained)
    assert SmallestStep(SampleDescent(steps=1)).draws(nn.Sequential(nn.Dropout(0.5)))
    assert not SmallestStep(SampleDescent(steps=1)).draws(trained)
    assert not SmallestStep(Fixed(1.0)).draws(trained)


@pytest.mark.parametrize("bad", [{"tolerance": 0.0}, {"tolerance": 1.0}, {"margin": -1e-3}])
def test_options_out_of_range_are_named(bad):
    ((key, _),) = bad.items()
    with pytest.raises(ValueError, match=f"{key}="):
        SmallestStep(SubsetSearch(), **bad)
