"""Every method on samples and networks that no one would wish for: a failure in words or a sound correction."""

import copy
from dataclasses import replace

import pytest
import torch
from conftest import known
from every_method import METHODS, marked
from oracles import flat, is_right, subset_search, top_k, with_parameters
from torch import nn

from bgd import rng
from bgd.knowledge import Knowledge
from bgd.methods import lora
from bgd.methods.base import Answer, Correction, Problem
from bgd.methods.bgd.guard import CurvatureGuard
from bgd.methods.bgd.prior import Weights
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.bgd.update import FirstOrder, SecondOrder
from bgd.methods.descent import SampleDescent
from bgd.methods.glimpse import Glimpse
from bgd.methods.hard_threshold import HardThreshold
from bgd.methods.idealized import IdealizedSelector
from bgd.methods.least_harm import search
from bgd.methods.least_harm.row import LeastHarmInARow
from bgd.methods.least_harm.search import LeastHarm
from bgd.methods.least_harm.settle import Objective
from bgd.methods.least_harm.tail import Tail
from bgd.methods.least_harm.target import Target
from bgd.methods.lora import LoRA
from bgd.methods.rehearsal import Rehearsal
from bgd.methods.smallest_step import SmallestStep
from bgd.methods.top_k import TopK
from bgd.parameters import ParameterSpace
from experiments.config.build import build
from experiments.mnist import training
from experiments.mnist.networks import MLP
from experiments.protocol.samples import samples_of


def altered(network, change):
    """A copy of the network, changed in place by `change`."""
    moved = copy.deepcopy(network)
    with torch.no_grad():
        change(moved)
    return moved


def dead(network):
    """No hidden unit is ever active, and no weight leads out of one: the weights have no gradient."""
    for layer in (network.lin1, network.lin2, network.lin3):
        layer.weight.zero_()
        layer.bias.fill_(-1.0)


def not_a_number(network):
    network.lin1.weight[0, 300] = float("nan")
    network.lin3.weight.fill_(float("nan"))


def overflowing(network):
    """Logits that are infinite: the loss is not a number."""
    network.lin3.weight.mul_(3e38)
    network.lin3.bias.fill_(3e38)


def attempt(method, network, sample):
    """The correction, with the network checked to be as it was, bit for bit."""
    images = torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(20) % 10

    def curvature(estimator):
        """Of a network in good order: a statistic that was stored before this one came to be as it is."""
        with rng.torch_seeded(rng.stream(0, "init")):
            healthy = MLP()
        space = ParameterSpace.of(healthy)
        return estimator.estimate(healthy, space, images, labels, rng.stream(0, "curvature"))

    gradient = torch.full_like(flat(network), 1e-3)
    knowledge = Knowledge(lambda: gradient, curvature, lambda: images, lambda: (images, labels))
    problem = Problem(network, knowledge)
    before = problem.current.flat.clone()
    with problem.trying() as trial:
        correction = method.correct(trial, sample, rng.stream(0, "method", sample.index))
    assert torch.equal(problem.current.flat.view(torch.int32), before.view(torch.int32))
    assert not problem.current.module.training
    return correction


def check(correction, network, sample):
    """A failure that says why, or a patch that makes the sample right with finite logits."""
    if correction.patch is None:
        assert correction.reason
        assert correction.altered == 0
        return
    after = flat(network)
    correction.patch.apply(after)
    moved = with_parameters(network, after)
    assert is_right(moved, sample)
    assert torch.isfinite(moved(sample.image)).all()


@pytest.mark.parametrize("change", [dead, not_a_number, overflowing])
@pytest.mark.parametrize("name", marked(METHODS))
def test_a_network_without_a_usable_gradient(name, change, trained, samples, spec_of):
    method = build(spec_of(f"method={name}").method, "method")
    network = altered(trained, change)
    for sample in samples[:2]:
        correction = attempt(method, network, sample)
        check(correction, network, sample)
        if change is not dead:  # a dead network still has biases, which descent may use
            assert correction.patch is None


@pytest.mark.parametrize("method", [TopK(), SubsetSearch(), SubsetSearch(update=SecondOrder("full_norm"))])
def test_a_zero_or_undefined_gradient_is_said_in_words(method, trained, samples):
    for change, reason in ((dead, "the gradient is zero"), (not_a_number, "the gradient is not finite")):
        correction = attempt(method, altered(trained, change), samples[0])
        assert (correction.reason, correction.steps) == (reason, 0)


@pytest.fixture
def looks(monkeypatch):
    """Every look at a sample that is taken."""
    seen, plain = [], Answer.of.__func__

    def of(cls, logits, sample):
        seen.append(bool(torch.isfinite(logits).all()))
        return plain(cls, logits, sample)

    monkeypatch.setattr(Answer, "of", classmethod(of))
    return seen


@pytest.mark.parametrize(
    "method",
    [
        SubsetSearch(update=FirstOrder(1e38)),
        SubsetSearch(update=FirstOrder(1e38), replace_probability=1.0, iterations=3),
        TopK(step=1e38),
        SampleDescent(steps=3, learning_rate=1e38),
    ],
)
def test_an_edit_that_overflows_is_a_failed_correction(method, trained, samples, looks):
    for sample in samples[:4]:
        check(attempt(method, trained, sample), trained, sample)
    assert not all(looks), "some edit must have overflowed, or this test shows nothing"


def test_the_printed_form_of_the_guard_stands_zero_and_tiny_gradients(problem, samples):
    """Gbar / g where g is 0, or so small that the quotient overflows."""
    with problem.trying() as trial:
        gradient = trial.gradient(samples[0])
        gradient[:50], gradient[50:60] = 0.0, 1e-44
        guard = CurvatureGuard(form="second_order_step")
        estimate = guard.estimate(trial, gradient)
        assert not estimate.isnan().any()
        assert not estimate[:50].any()
        harmful = guard.harmful(trial, gradient)
    assert harmful.any()
    assert not harmful[:50].any(), "what has no gradient moves nowhere and does no harm"


@pytest.mark.parametrize("redraws", [0, 5])
def test_a_guard_against_nearly_everything_still_lets_the_search_draw(problem, samples, redraws):
    guard = CurvatureGuard(percentile=0.01, redraws=redraws)
    plain, found = SubsetSearch(), 0
    for sample in samples[:6]:
        with problem.trying() as trial:
            correction = replace(plain, guard=guard).correct(trial, sample, rng.stream(0, sample.index))
        found += correction.patch is not None
    assert found


def test_a_prior_with_fewer_weights_than_are_asked_for(problem, samples):
    """A prior may leave most weights out; the search then ends with what there is."""

    class Three:
        def weights(self, magnitude):
            whole = magnitude.part(0, magnitude.space.size)
            kept = torch.zeros_like(whole)
            kept[whole.topk(3).indices] = 1.0
            return Weights.listed(kept)

    with problem.trying() as trial:
        method = SubsetSearch(prior=Three(), update=FirstOrder(1e-9), iterations=3)
        correction = method.correct(trial, samples[0], rng.stream(0))
    assert correction.reason == "wrong after 3 iterations"


def count_looks(watched, calls):
    """Count every look of a least-harm method at the sample: what it looks with is never run as a whole network."""

    def counting(owner, name, count):
        plain = getattr(owner, name)

        def counted(self, *arguments):
            calls.extend([1] * count(*arguments))
            return plain(self, *arguments)

        watched.setattr(owner, name, counted)

    inputs = Tail.inputs

    def uncounted(self, images):
        """What goes into the last layers: made of a sample once, and counted with the first look at it."""
        found, _ = inputs(self, images), calls.__delitem__(slice(len(calls) - len(images), None))
        return found

    watched.setattr(Tail, "inputs", uncounted)
    counting(Objective, "slope", lambda *_: 1)
    counting(Glimpse, "of", lambda edits: edits.count)
    counting(Target, "rise", lambda *_: 1)
    counting(Target, "softened", lambda *_: 1)


def plain_top_k(method, trial, sample, stream):
    """Top-k with a forward pass for every k, as a correction."""
    k = top_k(method, trial, sample)
    return Correction(trial.patch(), k, k) if k else Correction.failed("wrong with all")


@pytest.mark.parametrize("name", marked(METHODS))
def test_passes_of_every_method_are_counted(name, trained, tiny, samples, small_method, monkeypatch):
    """Forward passes as the network itself counts them, image by image; of a search, when it goes one by one."""
    method = build(small_method(name)[0], "method")
    inner = method.inner if isinstance(method, SmallestStep) else method
    problem, calls = Problem(trained, known(trained, tiny)), []
    forward = nn.Sequential.forward

    def counted(row, images):
        if row is problem.current.module:
            calls.extend([1] * len(images))
        return forward(row, images)

    monkeypatch.setattr(nn.Sequential, "forward", counted)  # a hook would have the network run whole
    monkeypatch.setattr(
        search, "is_compiled", lambda *_: False
    )  # least harm's: nothing in it could be watched
    for sample in samples[:4]:
        with problem.trying() as trial:
            correction = method.correct(trial, sample, rng.stream(0, "method", sample.index))
        assert 0 <= trial.backward_passes <= trial.forward_passes  # 0: in closed form
        assert trial.forward_passes >= correction.steps
        calls.clear()
        with problem.trying() as again:
            if isinstance(method, SubsetSearch):
                subset_search(method, again, sample, rng.stream(0, "method", sample.index))
            elif isinstance(inner, TopK):
                with pytest.MonkeyPatch.context() as plain:
                    plain.setattr(TopK, "correct", plain_top_k)
                    method.correct(again, sample, rng.stream(0, "method", sample.index))
            elif isinstance(method, IdealizedSelector):
                method.retrain.correct(again, sample, rng.stream(0, "method", sample.index))
                calls.extend([1] * again.space.size * (correction.patch is not None))
            elif isinstance(method, LeastHarm | LeastHarmInARow | HardThreshold | Rehearsal):
                with pytest.MonkeyPatch.context() as watched:
                    count_looks(watched, calls)
                    method.correct(again, sample, rng.stream(0, "method", sample.index))
            elif isinstance(inner, LoRA):
                with pytest.MonkeyPatch.context() as whole:
                    whole.setattr(lora, "known_layers", lambda network, space: {})
                    method.correct(again, sample, rng.stream(0, "method", sample.index))
                # One that says whether the sample is right and gives the next gradient counts as two.
                calls.extend([1] * (correction.steps - 1))
            else:
                method.correct(again, sample, rng.stream(0, "method", sample.index))
        assert trial.forward_passes == len(calls) > 0


def test_samples_are_the_misclassified_images_in_order(trained, tiny):
    errors = training.misclassified(trained, tiny)
    images, labels = tiny.test.tensors()
    for count in (0, 3, None):
        taken = samples_of(images, labels, errors, count)
        assert [sample.index for sample in taken] == list(errors)[:count]
        for sample in taken:
            assert sample.image.shape == (1, 1, 28, 28)
            assert not is_right(trained, sample)
