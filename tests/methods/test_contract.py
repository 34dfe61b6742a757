"""The contract that every method keeps, on every yaml under experiments/conf/method that there is."""

import numpy as np
import pytest
import torch
from conftest import known
from every_method import METHODS, marked
from odd_networks import KINDS, known_of, naming, odd_network, state_of, wrong_sample
from oracles import flat, is_right, with_parameters

from bgd import rng
from bgd.arithmetic import logits_in
from bgd.corrector import Corrector
from bgd.errors import ConfigError
from bgd.flat import FlatNetwork
from bgd.goals import Goal
from bgd.methods.base import Correction, Problem
from experiments.config.build import ABOUT, REMEMBERS, build
from experiments.mnist import training
from experiments.protocol.samples import samples_of


@pytest.fixture(params=["mlp", "alexnet"])
def case(request, tiny, trained, trained_alexnet):
    """A network with misclassified samples, and a problem posed on it."""
    network, count = {"mlp": (trained, 3), "alexnet": (trained_alexnet, 2)}[request.param]
    problem = Problem(network, known(network, tiny))
    chosen = samples_of(*tiny.test.tensors(), training.misclassified(network, tiny), count)
    assert len(chosen) == count
    return network, problem, chosen


def attempt(method, problem, sample):
    with problem.trying() as trial:
        correction = method.correct(trial, sample, rng.stream(0, "method", sample.index))
    return correction, trial


@pytest.mark.parametrize("name", marked(METHODS))
def test_contract(name, case, spec_of):
    network, problem, samples = case
    spec = spec_of(f"method={name}")
    assert spec.method["name"] == name
    method = build(spec.method, "method")
    problem.knowledge = problem.knowledge.restricted(spec.knows)
    before = flat(network)
    first = {}
    for sample in samples:
        correction, trial = attempt(method, problem, sample)
        first[sample.index] = correction
        assert isinstance(correction, Correction)
        assert torch.equal(problem.current.flat, before), "the network is as it was, bit for bit"
        assert torch.equal(flat(network), before)
        assert not problem.current.module.training
        assert trial.forward_passes >= correction.steps
        if correction.patch is None:
            assert correction.reason, "a failure says why"
            assert correction.altered == 0
            continue
        assert correction.reason == ""
        assert 0 < len(correction.patch) <= correction.altered <= len(before)
        assert torch.isfinite(correction.patch.new).all()
        after = before.clone()
        correction.patch.apply(after)
        assert is_right(with_parameters(network, after), sample)
    for sample in reversed(samples):  # another order, the same corrections
        again, _ = attempt(method, problem, sample)
        same = first[sample.index]
        assert (again.altered, again.steps, again.reason) == (same.altered, same.steps, same.reason)
        assert (again.patch is None) == (same.patch is None)
        if again.patch is not None:
            assert torch.equal(again.patch.indices, same.patch.indices)
            assert torch.equal(again.patch.new, same.patch.new)


REFUSING = ("frozen layer", "unused head")  # where a method may say that it is not for such a network


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", marked(METHODS))
def test_contract_on_odd_networks(name, kind, small_method):
    """R2, R9, R14: a right patch of what is not frozen, a failure or refusal in words; N0 as before, bit for bit."""
    (config, knows), network = small_method(name), odd_network(kind)
    config = naming(config, [name for name, _ in network.named_parameters() if "lin2.weight" in name])
    problem, sample = Problem(network, known_of(network).restricted(knows)), wrong_sample(network)
    before, copied = state_of(network), state_of(problem.current.module)
    assert not is_right(network, sample)
    refusal = correction = None
    try:
        correction = problem.correct(build(config, "method"), sample, rng.stream(0, "method", sample.index))
    except (ValueError, RuntimeError) as error:
        refusal = error
    assert state_of(network) == before
    assert state_of(problem.current.module) == copied
    if correction is None:
        assert kind in REFUSING, refusal
        assert type(refusal).__module__.startswith("bgd."), refusal
        assert 20 < len(str(refusal)) < 400
        return
    if correction.patch is None:
        assert correction.reason
        return
    assert correction.patch.new.dtype == next(network.parameters()).dtype
    assert not set(correction.patch.tensors) & set(problem.current.space.frozen)
    corrected = FlatNetwork(network)
    corrected.flat[correction.patch.indices] = correction.patch.new
    assert is_right(corrected.module, sample)


@pytest.mark.parametrize("name", marked(METHODS))
def test_a_goal_holds_in_the_arithmetics_that_it_names(name, small_method):
    (config, knows), network = small_method(name), odd_network("batch norm")
    config = naming(config, ["lin2.weight"])
    sample, goal = wrong_sample(network), Goal(where=("bfloat16", "float16", "int8"))
    knowledge = known_of(network).restricted(knows)
    corrector = Corrector(network, build(config, "method"), knowledge=knowledge)
    found = corrector.correct(sample.image, sample.label, goal)
    if found.patch is None:
        assert found.reason
        return
    with found.patch.applied(network):
        for name in goal.where:
            assert int(logits_in(name, network, sample.image).argmax()) == int(sample.label), name


@pytest.mark.parametrize("name", METHODS)
def test_every_key_of_the_yaml_is_an_option_and_every_option_a_key(name, spec_of):
    """The yaml holds every hyper-parameter, so that a reader sees them all."""
    import dataclasses

    config = spec_of(f"method={name}").method
    method = build(config, "method")
    assert {field.name for field in dataclasses.fields(method)} == set(config) - {
        "name",
        "_target_",
        *ABOUT,
    }


@pytest.mark.parametrize("name", marked(METHODS))
def test_a_method_looks_at_earlier_samples_only_if_its_yaml_says_so(
    name, problem, samples, small_method, spec_of
):
    """One that is handed earlier samples and does not say so gives the same correction without them."""
    (config, knows), remembers = small_method(name), spec_of(f"method={name}").method.get(REMEMBERS)
    method, stream = build(config, "method"), lambda: rng.stream(0, "method", samples[1].index)
    problem.knowledge = problem.knowledge.restricted(knows)
    assert remembers in (None, "samples")
    assert remembers is None or hasattr(method, "carry_after")
    if remembers or not hasattr(method, "carry_after"):
        return
    found = []
    for carry in (None, (samples[0],)):
        problem.carry = carry
        patch = problem.correct(method, samples[1], stream()).patch
        found.append(None if patch is None else (patch.indices.tolist(), patch.new.tolist()))
    assert found[0] == found[1]


def test_there_are_the_methods_of_the_thesis():
    wanted = {"bgd_ii", "bgd_i", "bgd_c", "bgd_norm", "retrain", "fine_tune", "top_k", "l1", "random"}
    assert wanted <= set(METHODS)


def test_what_a_method_may_not_know_is_refused(problem, samples, spec_of):
    method = build(spec_of("method=bgd_c").method, "method")
    problem.knowledge = problem.knowledge.restricted("nothing")
    with (
        problem.trying() as trial,
        pytest.raises(LookupError, match="knows='nothing' rules that out: 'statistic'"),
    ):
        method.correct(trial, samples[0], np.random.default_rng(0))


def test_a_level_of_knowledge_that_does_not_exist_is_named(spec_of):
    with pytest.raises(ConfigError, match=r"method.knows='keepset': .* did you mean 'keep_set'\?"):
        spec_of("method=bgd_ii", "method.knows=keepset")


def test_what_a_method_may_know_does_not_make_another_run(spec_of):
    assert spec_of("method=bgd_ii").run_id == spec_of("method=bgd_ii", "method.knows=statistic").run_id


def test_a_method_without_what_it_needs_says_so(trained, samples, spec_of):
    method = build(spec_of("method=bgd_c").method, "method")
    problem = Problem(trained)
    with problem.trying() as trial, pytest.raises(LookupError, match="mean training gradient"):
        method.correct(trial, samples[0], np.random.default_rng(0))
