"""Every method, probe, curvature and evaluator with its tensors on a card: no operation mixes devices.

The card is pretended (`tests/pretended.py`); its rules are held to those of a real one where there is one.
"""

import copy
import dataclasses
import importlib
import inspect
import pkgutil

import numpy as np
import pytest
import torch
from conftest import known
from every_method import METHODS, marked
from oracles import bystanders_of, flat, is_right, with_parameters
from pretended import DeviceMix, devices_of, pretended_card
from torch import nn

import bgd.curvature
from bgd import rng
from bgd.curvature.diagonal import TrueFisher
from bgd.curvature.kfac import KFAC
from bgd.evaluation import FullEvaluator, IncrementalEvaluator
from bgd.flat import FlatNetwork
from bgd.methods.base import Problem
from bgd.parameters import ParameterSpace
from bgd.patch import Patch
from experiments.config.build import build
from experiments.jobs.execute import execute
from experiments.jobs.workbench import Place, Workbenches
from experiments.mnist import training
from experiments.protocol.figures import Images, Summaries, full
from experiments.protocol.probes.survey import Survey
from experiments.protocol.samples import samples_of
from experiments.protocol.settings import Setting, Stage
from experiments.records.schema import CORRECTED
from experiments.records.store import Store
from experiments.run import CONF

PROBES = sorted(path.stem for path in (CONF / "probe").glob("*.yaml"))
SETTINGS = {"reloading": Setting(False), "non_reloading": Setting(True)}
EVALUATORS = {"full": FullEvaluator, "incremental": IncrementalEvaluator}


@pytest.fixture
def card():
    with pretended_card():
        yield "cuda"


@pytest.fixture(params=["mlp", "alexnet"])
def network(request, trained, trained_alexnet):
    return {"mlp": trained, "alexnet": trained_alexnet}[request.param]


def samples_on(network, tiny, device, count):
    return samples_of(*tiny.test.tensors(device), training.misclassified(network, tiny), count)


def stage_of(network, tiny, card, setting, method, knows, count):
    problem = Problem(network, known(network, tiny, card).restricted(knows), card)
    images, samples = Images.of(tiny, 60, 40, card), samples_on(network, tiny, card, count)
    summaries = Summaries(IncrementalEvaluator(network, images.images, images.labels), images)
    bystanders = bystanders_of(network, images, [sample.index for sample in samples])
    return Stage(setting, build(method, "method"), 0, problem, summaries, samples, bystanders)


# A network that keeps corrections has the second one meet what the first one left behind; where it does not, what is
# like the sample is looked at as well.
@pytest.mark.parametrize("name", marked(METHODS))
@pytest.mark.parametrize(
    ("network", "setting", "count"),
    [("mlp", "non_reloading", 2), pytest.param("alexnet", "reloading", 1, marks=pytest.mark.slow)],
    indirect=["network"],
)
def test_a_method_corrects_on_a_card(name, setting, count, network, tiny, card, small_method):
    stage = stage_of(network, tiny, card, SETTINGS[setting], *small_method(name), count)
    before = stage.problem.original.cpu()
    for row in stage.rows():  # a patch that leaves its sample wrong is refused by the stage
        assert row.reason or row.outcome == CORRECTED
        if row.patch is not None and setting == "reloading":
            after = before.clone()
            after[row.patch["index"]] = torch.tensor(row.patch["new"])
            assert is_right(
                with_parameters(network, after), samples_on(network, tiny, "cpu", count)[row.position]
            )
    stage.retained()
    assert devices_of([stage.problem.current.flat, stage.problem.original]) == {"cuda"}


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_measures_on_a_card_as_on_the_cpu(name, network, tiny, card, spec_of):
    probe, found = build(spec_of(f"probe={name}").probe, "probe"), []
    for device in ("cpu", card):
        problem = Problem(network, known(network, tiny, device), device)
        summaries = full(network, Images.of(tiny, 60, 40, device))
        found += Survey(probe, problem, summaries, samples_on(network, tiny, device, 1)).rows()
    assert found[0].values.keys() == found[1].values.keys()
    for column, values in found[0].values.items():
        pairs = zip(values, found[1].values[column], strict=True)
        for wanted, value in [pair for pair in pairs if all(isinstance(x, float) for x in pair)]:
            assert value == pytest.approx(wanted, rel=1e-4, abs=1e-6), column


def estimators():
    """One of each class in `bgd.curvature` that estimates, and those that draw also with draws."""
    arguments = {"InputMoments": {"layer": "lin2"}}
    for module in pkgutil.iter_modules(bgd.curvature.__path__):
        loaded = importlib.import_module(f"bgd.curvature.{module.name}")
        for kind in vars(loaded).values():
            own = (
                inspect.isclass(kind)
                and kind.__module__ == loaded.__name__
                and dataclasses.is_dataclass(kind)
            )
            if own and hasattr(kind, "estimate"):
                yield kind(images=20, **arguments.get(kind.__name__, {}))
    yield from (TrueFisher(images=20, draws=2), KFAC(images=20, draws=2))


ESTIMATORS = {str(estimator): estimator for estimator in estimators()}


def estimated(estimator, network, tiny, device):
    there, space = FlatNetwork(network, device).module, ParameterSpace.of(network)
    images, labels = tiny.train.first(20).tensors(device)
    return estimator.estimate(there, space, images, labels, rng.stream(0, "curvature")), space


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_curvature_is_the_same_on_a_card(name, network, tiny, card):
    own, space = estimated(ESTIMATORS[name], network, tiny, "cpu")
    made, _ = estimated(ESTIMATORS[name], network, tiny, card)
    there = ESTIMATORS[name].restore(made.tensors(), space)
    vector = torch.linspace(-1, 1, space.size)
    for use in (
        lambda curvature, vector: curvature.diagonal(),
        lambda curvature, vector: curvature.multiply(vector),
        lambda curvature, vector: curvature.solve(vector, 0.1),
    ):
        found = use(there, vector.to(card))
        assert devices_of([found]) == {"cuda"}
        torch.testing.assert_close(found.cpu(), use(own, vector), rtol=1e-3, atol=1e-6)


def test_per_sample_gradients_of_any_layer_are_taken_on_a_card(tiny, card):
    """`torch.func` takes them, for parameters that are in no linear layer and no convolution."""
    odd = nn.Sequential(nn.Flatten(), nn.Linear(784, 6), nn.PReLU(6), nn.LayerNorm(6), nn.Linear(6, 10))
    for kind in (TrueFisher(images=20), KFAC(images=20, draws=2)):
        own, there = (estimated(kind, odd, tiny, device)[0].diagonal() for device in ("cpu", card))
        assert devices_of([there]) == {"cuda"}
        torch.testing.assert_close(there.detach().cpu(), own.detach(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_an_evaluator_takes_patches_of_either_device(evaluator, where, network, tiny, card):
    """A patch from a file is on the CPU."""
    space, original = ParameterSpace.of(network), flat(network)
    there, own = (
        EVALUATORS[evaluator](network, *tiny.test.first(40).tensors(device)) for device in (card, "cpu")
    )
    stream = np.random.default_rng(0)
    for name in [*space.weights, space.names[-1], None]:  # each layer, a bias, everywhere
        span = slice(0, space.size) if name is None else space.span(name)
        chosen = torch.from_numpy(stream.choice(np.arange(span.start, span.stop), 5, replace=False))
        patch = Patch.sparse(space, chosen, original[chosen], original[chosen] + 0.5)
        moved = Patch(space, patch.indices.to(where), patch.old.to(where), patch.new.to(where))
        found, wanted = there.after(moved), own.after(patch)
        assert torch.equal(found.predictions.cpu(), wanted.predictions)
        torch.testing.assert_close(found.losses.cpu(), wanted.losses, rtol=1e-4, atol=1e-5)
    there.advance(moved)
    own.advance(patch)
    torch.testing.assert_close(there.base.losses.cpu(), own.base.losses, rtol=1e-4, atol=1e-5)


def test_a_patch_on_the_cpu_goes_into_a_model_on_a_card_and_back(network, card, tmp_path):
    model = copy.deepcopy(network).to(card)
    space, before = ParameterSpace.of(model), flat(model)
    chosen = torch.arange(5, space.size, space.size // 9, device=card)
    there = Patch.sparse(space, chosen, before[chosen], before[chosen] + 1)
    there.save(tmp_path / "fix", base=model)
    here = Patch.load(tmp_path / "fix")
    assert devices_of([here.indices, here.old, here.new]) == {"cpu"}
    for patch, other in ((here, there), (there, here)):
        patch.apply_(model)
        assert patch.verify(model).state == "patched"
        back = Patch(other.space, other.indices, other.new, other.old)
        assert len(patch.then(back)) == 0
        assert Patch.compose([patch, other])[1] == []
        patch.revert_(model)
        assert patch.verify(model).state == "base"


@pytest.mark.parametrize("method", ["bgd_c", pytest.param("least_harm_kfac", marks=pytest.mark.slow)])
def test_a_run_from_the_command_line_s_specification_is_made_on_a_card(
    method, card, card_facts, spec_of, tmp_path
):
    """N0 is trained there, statistics are kept in files and read again, the header says how it was computed."""
    spec, place = (
        spec_of(f"method={method}", "scale.samples=2"),
        Place(tmp_path / "data", tmp_path, "cuda", 1),
    )
    header = execute(spec, Workbenches(place))
    execute(spec_of(f"method={method}", "setting=non_reloading", "scale.samples=2"), Workbenches(place))
    assert len(Store(tmp_path / "runs").read(spec.run_id).rows) == 2
    assert header.provenance["hardware"] == "a pretended card"
    assert header.provenance["deterministic_algorithms"] is True


# What CUDA does with tensors of two devices; `card` and `cpu` are vectors of three numbers, `one` a number on the CPU.
ALLOWED = {
    "a number on the CPU": lambda card, cpu, one: card * one,
    "a number on the CPU and one on the card": lambda card, cpu, one: one + card[0],
    "two numbers on the CPU, of a choice": lambda card, cpu, one: torch.where(card > 0, one, one),
    "filled with a number on the CPU": lambda card, cpu, one: card.fill_(one),
    "an index on the CPU": lambda card, cpu, one: card[torch.tensor([0, 2])],
    "a list of indices": lambda card, cpu, one: card[[0, 2]],
    "a mask on the CPU": lambda card, cpu, one: card[cpu > 0],
    "written at an index on the CPU": lambda card, cpu, one: card.index_put_(
        (torch.tensor([0]),), card[1:2] * 2
    ),
    "a number on the CPU written at an index": lambda card, cpu, one: card.__setitem__(
        torch.tensor([0, 1]), one
    ),
    "written to a part": lambda card, cpu, one: card.__setitem__(slice(0, 2), cpu[:2]),
    "copied": lambda card, cpu, one: card.copy_(cpu),
    "copied back": lambda card, cpu, one: cpu.copy_(card),
    "a list of its numbers": lambda card, cpu, one: torch.tensor([card[0], card[1]]) + cpu[:2],
    "moved to where another is": lambda card, cpu, one: cpu.to(card) + card,
    "whole numbers added up": lambda card, cpu, one: card.long().cumsum(0),
    "counted": lambda card, cpu, one: card.long().bincount(),
}
REFUSED = {
    "two vectors": lambda card, cpu, one: card + cpu,
    "a step times multiples": lambda card, cpu, one: card[:, None] * cpu,
    "a number on the card": lambda card, cpu, one: cpu * card[0],
    "written to the CPU": lambda card, cpu, one: one.add_(card[0]),
    "an index on the card": lambda card, cpu, one: cpu[card.long()],
    "values on the CPU written at indices": lambda card, cpu, one: card.__setitem__(
        torch.tensor([0, 1]), cpu[:2]
    ),
    "values on the card written at indices": lambda card, cpu, one: cpu.__setitem__(
        torch.tensor([0, 1]), card[:2]
    ),
    "a product": lambda card, cpu, one: torch.outer(card, cpu) @ cpu,
    "put together": lambda card, cpu, one: torch.cat([card, cpu]),
    "stacked": lambda card, cpu, one: torch.stack([card[0], one]),
    "compared": lambda card, cpu, one: torch.equal(card, cpu),
    "looked up": lambda card, cpu, one: torch.searchsorted(card, cpu),
    "gathered": lambda card, cpu, one: card.gather(0, torch.tensor([0])),
    "selected": lambda card, cpu, one: card.index_select(0, torch.tensor([0])),
    "solved": lambda card, cpu, one: torch.linalg.solve(torch.eye(3), card),
    "through a layer": lambda card, cpu, one: nn.Linear(3, 2)(card),
    "with a label elsewhere": lambda card, cpu, one: nn.functional.cross_entropy(
        card[None], torch.tensor([1])
    ),
    "differentiated": lambda card, cpu, one: (
        torch.autograd.grad((card.requires_grad_() * 2).sum(), card)[0] + cpu
    ),
    "as numpy": lambda card, cpu, one: card.numpy(),
    "as numpy, silently": lambda card, cpu, one: np.asarray(card),
}
# Refused by the pretended card whether the flag is set or not; by a real one with deterministic algorithms on.
NOT_DETERMINISTIC = {
    "a histogram": lambda card, cpu, one: card.histc(),
    "weighted counts": lambda card, cpu, one: card.long().bincount(card),
    "put": lambda card, cpu, one: card.put_(card.long(), card),
}
# Refused in some versions of torch, so never to be used.
REFUSED_SOMEWHERE = {
    "the value of a rank": lambda card, cpu, one: card.kthvalue(1),
    "numbers added up": lambda card, cpu, one: card.cumsum(0),
}


def outcome(case, device):
    """What an operation does with a vector on a device, the same on the CPU, and a number there."""
    return case(
        torch.tensor([0.0, 1.0, 2.0], device=device), torch.tensor([0.0, 1.0, 2.0]), torch.tensor(1.0)
    )


@pytest.mark.parametrize("name", ALLOWED)
def test_the_pretended_card_allows(name, card):
    outcome(ALLOWED[name], card)


@pytest.mark.parametrize("name", REFUSED | NOT_DETERMINISTIC | REFUSED_SOMEWHERE)
def test_the_pretended_card_refuses(name, card):
    with pytest.raises(DeviceMix):
        outcome((REFUSED | NOT_DETERMINISTIC | REFUSED_SOMEWHERE)[name], card)


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device: holds the pretended one to it"
)
@pytest.mark.parametrize("name", ALLOWED | REFUSED | NOT_DETERMINISTIC)
def test_a_real_card_does_the_same(name, monkeypatch):
    torch.use_deterministic_algorithms(True)
    try:
        if name in ALLOWED:
            outcome(ALLOWED[name], "cuda")
        else:
            with pytest.raises((RuntimeError, TypeError)):
                outcome((REFUSED | NOT_DETERMINISTIC)[name], "cuda")
    finally:
        torch.use_deterministic_algorithms(False)


def test_parameters_copies_and_gradients_stay_where_they_are(card):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)).to(card)
    images, labels = torch.zeros(2, 1, 4, 4, device=card), torch.tensor([1, 2], device=card)
    copied = FlatNetwork(network, card)
    loss = nn.functional.cross_entropy(copied.module(images), labels)
    gradients = torch.autograd.grad(loss, list(copied.module.parameters()))
    assert devices_of([*copied.module.parameters(), copied.flat, *gradients]) == {"cuda"}
    copied.flat[:] = 0  # views share the memory, and the mark
    assert not any(parameter.any() for parameter in copied.module.parameters())
    network.to("cpu", memory_format=torch.channels_last)
    assert devices_of(network.parameters()) == {"cpu"}


def test_outside_the_block_there_is_no_card():
    with pretended_card():
        there = torch.zeros(3, device="cuda")
        assert there.is_cuda
    assert there.device.type == "cpu"
    there + torch.zeros(3)
