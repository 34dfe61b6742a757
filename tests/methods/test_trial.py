"""A trial cannot be left changed, and what is no correction is refused by name."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from odd_networks import layers, odd_network, state_of, thawed, wrong_sample
from oracles import flat, gradient, is_right, with_parameters
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from bgd import rng
from bgd.errors import ConfigError
from bgd.flat import FlatNetwork, NetworkError
from bgd.methods import base
from bgd.methods.anchored import AnchoredDescent, KeepSetDivergence, StartingPoint
from bgd.methods.base import Correction, Problem, TrialError
from bgd.methods.descent import SampleDescent
from bgd.patch import Patch


def lifted(network, sample):
    """The bias of the last layer with the label's raised until it wins."""
    logits = network(sample.image)[0]
    bias = network.lin2.bias.detach().clone()
    bias[int(sample.label)] += logits.max().detach() - logits[int(sample.label)].detach() + 1
    return bias


def by_data(network, sample):
    network.lin2.bias.data = lifted(network, sample)


def in_place(network, sample):
    network.lin2.bias.data.copy_(lifted(network, sample))


def by_a_vector(network, sample):
    vector = parameters_to_vector(network.parameters()).detach().clone()
    vector[-len(network.lin2.bias) :] = lifted(network, sample)
    vector_to_parameters(vector, network.parameters())


def registered_anew(network, sample):
    network.lin2.bias = nn.Parameter(lifted(network, sample), requires_grad=False)


def by_another_layer(network, sample):
    layer = nn.Linear(8, 4)
    layer.load_state_dict({"weight": network.lin2.weight.detach(), "bias": lifted(network, sample)})
    network.lin2 = layer


def taken_out_and_put_back(network, sample):
    bias = lifted(network, sample)
    del network.lin2.bias
    network.lin2.register_parameter("bias", nn.Parameter(bias))


def by_a_state_dict(network, sample):
    network.load_state_dict(network.state_dict() | {"lin2.bias": lifted(network, sample)}, assign=True)


FOLLOWED = [
    by_data, in_place, by_a_vector, registered_anew, by_another_layer, taken_out_and_put_back, by_a_state_dict,
]  # fmt: skip


def deleted(network, sample):
    del network.lin1.bias
    network.lin1.register_parameter("bias", None)


def of_another_shape(network, sample):
    network.lin2.weight.data = network.lin2.weight.data[:, :4].clone()


def of_another_type(network, sample):
    network.double()


REFUSED = {
    deleted: "parameter lin1.bias was taken out",
    of_another_shape: r"parameter lin2.weight was made float32 \(4, 4\), and is float32 \(4, 8\)",
    of_another_type: "parameter conv.weight was made float64",
}


def statistics(network, sample):
    network.norm.running_mean.add_(100)
    network.norm.num_batches_tracked += 1
    network.norm.running_var.data = torch.ones(3)


def a_buffer_anew(network, sample):
    network.norm.register_buffer("running_mean", torch.full((3,), 50.0))
    network.register_buffer("more", torch.zeros(2))


def modes(network, sample):
    network.train()
    network.norm.eval()


def freezing(network, sample):
    network.requires_grad_(False)
    network.lin1.weight.requires_grad_(True).register_hook(lambda grad: grad * 0)
    network.lin1.weight.grad = torch.ones(8, 27)


def hooks(network, sample):
    network.register_forward_hook(lambda _, __, out: -out)
    network.lin1.register_forward_pre_hook(lambda _, __: None)
    network.lin1.register_full_backward_hook(lambda _, __, ___: None)


def attributes(network, sample):
    network.norm.eps = 10.0
    network.lin1.forward = lambda values: values.new_zeros(1, 8)
    network.note = "mine"


def structure(network, sample):
    network.add_module("scale", nn.Identity())
    network.relu1 = nn.Tanh()
    del network.relu


BESIDE = [statistics, a_buffer_anew, modes, freezing, hooks, attributes, structure]


@dataclass(frozen=True)
class By:
    """Changes its trial in some way and gives back what the trial says has changed."""

    change: object

    def correct(self, trial, sample, stream):
        self.change(trial.network, sample)
        return Correction(trial.patch(), 1, 1)


@pytest.fixture
def posed():
    network = odd_network("batch norm")
    return SimpleNamespace(network=network, problem=Problem(network), sample=wrong_sample(network))


def unchanged(problem, network):
    """Whether the copy is as the network is, linked to its vector, and says the same."""
    assert state_of(problem.current.module) == state_of(network)
    assert not problem.current.follow()
    assert torch.equal(problem.current.flat, flat(network))
    assert torch.equal(problem.original, flat(network))
    assert [name for name, _ in problem.current.module.named_modules()] == [
        name for name, _ in network.named_modules()
    ]
    images = torch.ones(2, 1, 8, 8)
    assert torch.equal(problem.current.module(images), network(images))
    problem.current.flat[:] += 1  # the copy still is what the vector is
    assert torch.equal(problem.current.module(images), with_parameters(network, flat(network) + 1)(images))


@pytest.mark.parametrize("change", FOLLOWED, ids=lambda change: change.__name__)
def test_r1_a_change_through_other_memory_is_in_the_patch_and_undone(change, posed):
    correction = posed.problem.correct(By(change), posed.sample, rng.stream(0))
    assert set(correction.patch.tensors) == {"lin2.bias"}
    vector = flat(posed.network)
    correction.patch.apply(vector)
    assert is_right(with_parameters(posed.network, vector), posed.sample)
    unchanged(posed.problem, posed.network)


@pytest.mark.parametrize(("change", "words"), REFUSED.items(), ids=lambda part: getattr(part, "__name__", ""))
def test_r1_a_change_that_no_patch_holds_is_refused_by_name_and_undone(change, words, posed):
    with pytest.raises(NetworkError, match=words):
        posed.problem.correct(By(change), posed.sample, rng.stream(0))
    unchanged(posed.problem, posed.network)


@pytest.mark.parametrize("change", BESIDE, ids=lambda change: change.__name__)
def test_r1_r2_what_is_not_a_parameter_is_undone_and_its_empty_patch_refused(change, posed):
    with pytest.raises(TrialError, match=rf"By, sample {posed.sample.index}: the patch is empty"):
        posed.problem.correct(By(change), posed.sample, rng.stream(0))
    unchanged(posed.problem, posed.network)


@pytest.mark.parametrize("change", [*FOLLOWED, *BESIDE], ids=lambda change: change.__name__)
def test_r1_an_exception_in_a_trial_leaves_nothing_behind(change, posed):
    def fail():
        with posed.problem.trying() as trial:
            change(trial.network, posed.sample)
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    unchanged(posed.problem, posed.network)


def test_hooks_and_attributes_from_before_a_trial_stay(posed):
    network, calls = posed.problem.current.module, []
    posed.problem.logits(posed.sample)  # the first answer passes the image more than once
    network.register_forward_hook(lambda *_: calls.append(1))
    with posed.problem.trying() as trial:
        network._forward_hooks.clear()
        trial.answer(posed.sample)
        assert not calls
    posed.problem.logits(posed.sample)
    assert calls == [1]


class LeavingOut:
    """Names one parameter as altered, and alters two."""

    def correct(self, trial, sample, stream):
        trial.flat[-2:] += 1
        patch, trial.altered = trial.patch(), torch.tensor([trial.space.size - 1])
        return Correction(patch, 1, 1)


@pytest.mark.parametrize("part", [1 << 16, 50])
def test_r1_altered_that_leaves_something_out_is_found(part, posed, monkeypatch):
    """At once in a small network; in one of many parts within as many trials, each with a part of its own."""
    monkeypatch.setattr(base, "PART", part)
    parts = -(-len(posed.problem.original) // part)

    def run():
        for _ in range(parts):
            posed.problem.attempt(LeavingOut(), posed.sample, rng.stream(0))

    with pytest.raises(TrialError, match=r"LeavingOut, sample \d+: trial\.altered leaves out parameter \d+"):
        run()
    unchanged(posed.problem, posed.network)


def test_r1_the_original_is_not_to_be_written_to(posed):
    class Writing:
        def correct(self, trial, sample, stream):
            trial.original[trial.space.span("lin2.bias")] += 1
            return Correction.failed("no matter")

    with pytest.raises(TrialError, match=r"Writing, sample \d+: trial\.original was written to"):
        posed.problem.attempt(Writing(), posed.sample, rng.stream(0))


def test_r1_a_patch_of_a_frozen_parameter_is_refused_by_name():
    network = odd_network("frozen layer")
    problem, sample = Problem(network), wrong_sample(network)

    class Thawing:
        def correct(self, trial, sample, stream):
            trial.flat[trial.space.span("lin1.bias")] += 1
            return Correction(trial.patch(), 1, 1)

    with pytest.raises(TrialError, match=r"Thawing, sample \d+: the patch changes lin1\.bias, frozen"):
        problem.correct(Thawing(), sample, rng.stream(0))


def descents(**options):
    yield SampleDescent(steps=5, learning_rate=0.02, **options)
    yield SampleDescent(steps=5, learning_rate=0.02, l1=1e-3, **options)
    yield SampleDescent(steps=5, learning_rate=0.02, tensors=("lin1.weight",), **options)


def flat_first():
    """Batch normalisation over a vector: in training mode it refuses a single sample."""
    made = layers()
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    network.add_module("lin1", nn.Linear(8, 8))
    network.add_module("relu", nn.ReLU())
    network.add_module("lin2", made["lin2"])
    network[2].running_mean.normal_(generator=torch.Generator().manual_seed(3))
    return network.eval()


@pytest.mark.parametrize("training_mode", [True, False])
@pytest.mark.parametrize("make", [lambda: odd_network("batch norm"), flat_first], ids=["conv", "flat"])
def test_r2_r11_a_descent_sees_statistics_in_eval_mode_and_leaves_them(make, training_mode):
    network, patches = make(), 0
    problem, sample = Problem(network), wrong_sample(network)
    for method in descents(training_mode=training_mode):
        correction = problem.correct(method, sample, rng.stream(0))
        assert state_of(problem.current.module) == state_of(network)
        if correction.patch is not None:
            vector = flat(network)
            correction.patch.apply(vector)
            assert is_right(with_parameters(network, vector), sample), "with the statistics of N0"
            patches += 1
    assert patches >= 2


def test_r2_the_first_step_of_a_descent_is_along_the_gradient_in_eval_mode():
    network = odd_network("batch norm")
    sample = wrong_sample(network)
    with Problem(network).trying() as trial:
        SampleDescent(steps=1, learning_rate=0.1).correct(trial, sample, rng.stream(0))
        step = trial.flat - trial.original
    assert torch.allclose(step, -0.1 * gradient(network, sample), atol=1e-6)


def test_r2_dropout_is_active_in_training_mode_alone():
    network = flat_first()
    sample = wrong_sample(network)

    def moved(stream, **options):
        with Problem(network).trying() as trial:
            SampleDescent(steps=1, **options).correct(trial, sample, rng.stream(stream))
            return trial.flat.clone()

    assert torch.equal(moved(0, training_mode=False), moved(1, training_mode=False))
    assert len({tuple(moved(seed).tolist()) for seed in range(6)}) > 1
    assert SampleDescent(steps=1).draws(network)
    assert not SampleDescent(steps=1).draws(odd_network("batch norm"))


def test_r2_corrections_do_not_depend_on_what_was_corrected_before():
    network = odd_network("batch norm")
    problem, sample = Problem(network), wrong_sample(network)
    other = replace(sample, index=99, label=(sample.label + 1) % 4)
    for method in descents():
        alone = Problem(network).attempt(method, sample, rng.stream(0))[0]
        problem.attempt(method, other, rng.stream(1))
        after = problem.attempt(method, sample, rng.stream(0))[0]
        assert (alone.patch is None) == (after.patch is None)
        if alone.patch is not None:
            assert torch.equal(alone.patch.new, after.patch.new)


@pytest.mark.parametrize("kind", ["frozen layer", "unused head"])
def test_r9_the_gradient_is_0_at_what_is_frozen_or_unused(kind):
    network = odd_network(kind)
    sample, problem = wrong_sample(network), Problem(network)
    whole = gradient(thawed(network), sample)
    with problem.trying() as trial:
        for out in (None, torch.full_like(trial.flat, 7.0)):
            found, space = trial.gradient(sample, out), trial.space
            for name in space.names:
                nothing = name in space.frozen or name.startswith("spare")
                wanted = torch.zeros_like(whole[space.span(name)]) if nothing else whole[space.span(name)]
                assert torch.allclose(found[space.span(name)], wanted, atol=1e-6)
    assert not problem.candidates[space.span(space.names[0])].any() or kind == "unused head"


def test_r9_what_is_frozen_is_no_candidate():
    space = Problem(odd_network("frozen layer")).current.space
    assert space.frozen == ("conv.weight", "conv.bias", "lin1.weight", "lin1.bias")
    assert space.weights == ("lin2.weight",)
    assert space.free == 3 + 3 + 32 + 4


@pytest.mark.parametrize(
    "method",
    [
        *descents(),
        AnchoredDescent(20, 0.02, StartingPoint(0.1)),
        AnchoredDescent(20, 0.02, KeepSetDivergence(0.1, keep=10)),
    ],
)
def test_r9_a_descent_leaves_alone_what_is_frozen(method):
    network = odd_network("frozen layer")
    problem, sample = Problem(network), wrong_sample(network)
    problem.knowledge = replace(problem.knowledge, keep_images=lambda: torch.randn(10, 1, 8, 8))
    if getattr(method, "tensors", None):
        with pytest.raises(ConfigError, match=r"method.tensors=\['lin1.weight'\].*frozen are conv.weight"):
            problem.correct(method, sample, rng.stream(0))
        return
    correction = problem.correct(method, sample, rng.stream(0))
    assert set(correction.patch.tensors) <= {"norm.weight", "norm.bias", "lin2.weight", "lin2.bias"}
    assert correction.altered == problem.current.space.free


def test_r9_a_network_that_is_frozen_whole_is_refused():
    with pytest.raises(NetworkError, match=r"every parameter .* frozen .*network\.requires_grad_\(True\)"):
        Problem(odd_network("batch norm").requires_grad_(False))


@pytest.mark.parametrize("kind", ["float64", "bfloat16", "float16"])
def test_r14_a_patch_is_of_the_networks_type_and_leads_back_bit_for_bit(kind):
    network = odd_network(kind)
    problem, sample = Problem(network), wrong_sample(network)
    place = torch.tensor([problem.current.space.size - 1, 3])
    old = problem.original[place]
    patch = Patch.sparse(problem.current.space, place, old, old + 1)
    assert patch.old.dtype == patch.new.dtype == problem.current.flat.dtype == getattr(torch, kind)
    with problem.current.patched(patch):
        assert not torch.equal(problem.current.flat, problem.original)
    assert torch.equal(problem.current.flat, problem.original)
    working = torch.float64 if kind == "float64" else torch.float32
    with problem.trying() as trial:
        assert trial.gradient(sample).dtype == trial.scratch("any").dtype == working
        assert trial.logits(sample).dtype == getattr(torch, kind)


def test_a_copy_of_the_corrected_network_is_the_networks_own(posed):
    correction = posed.problem.correct(By(by_data), posed.sample, rng.stream(0))
    corrected = FlatNetwork(posed.network)
    correction.patch.apply(corrected.flat)
    shipped = corrected.plain()
    assert is_right(shipped, posed.sample)
    shipped.lin2.bias.data.zero_()
    assert is_right(corrected.module, posed.sample)
