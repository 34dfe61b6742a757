"""What the probes measure, against loops that do the obvious thing, and the contract that every yaml keeps."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import flat, gradient as gradient_of, is_right, widened, with_parameters

from bgd.curvature.gradient import mean_gradient
from bgd.knowledge import Knowledge
from bgd.methods.base import Problem
from experiments.config.build import build
from experiments.mnist import training
from experiments.protocol.figures import Images, full
from experiments.protocol.probes.gradient_ranks import GradientRanks
from experiments.protocol.probes.layer_gradients import LayerGradients
from experiments.protocol.probes.loss_change import LossChange
from experiments.protocol.probes.portraits import Portraits
from experiments.protocol.probes.survey import Survey
from experiments.protocol.samples import samples_of
from experiments.records.schema import dump, row_from
from experiments.run import CONF

PROBES = sorted(path.stem for path in (CONF / "probe").glob("*.yaml"))


@pytest.fixture(scope="module", params=["mlp", "alexnet"])
def case(request, tiny, trained, trained_alexnet):
    """A network in float64, the problem posed on it, its summaries and three samples."""
    network = {"mlp": trained, "alexnet": trained_alexnet}[request.param]
    errors = training.misclassified(network, tiny)
    network, samples = widened(network, samples_of(*tiny.test.tensors(), errors, 3))
    images = Images.of(tiny, 150, 100)
    images = replace(images, images=images.images.double())
    problem = Problem(network, Knowledge(lambda: mean_gradient(network, images.train, images.train_labels)))
    return network, problem, full(network, images), samples


def measure(probe, case, sample):
    _, problem, summaries, _ = case
    with problem.trying() as trial:
        return probe.measure(trial, sample, summaries)


@pytest.mark.parametrize("name", PROBES)
def test_contract(name, case, spec_of):
    network, problem, summaries, samples = case
    spec = spec_of(f"probe={name}")
    assert spec.probe["name"] == name
    before = flat(network)
    survey = Survey(build(spec.probe, "probe"), problem, summaries, samples)
    rows = list(survey.rows())
    assert [row.index for row in rows] == [sample.index for sample in samples]
    assert torch.equal(problem.current.flat, before), "the network is as it was, bit for bit"
    assert [row.values for row in survey.rows(rows[:2])] == [rows[2].values], "an interrupted run goes on"
    for row in rows:
        assert row_from(json.loads(dump(row))).values.keys() == row.values.keys()


@pytest.mark.slow
def test_each_rank_is_that_weight_alone(case):
    network, _, summaries, samples = case
    probe, seen = GradientRanks(count=25), 0
    space = case[1].current.space
    for sample in samples:
        values = measure(probe, case, sample)
        gradient = gradient_of(network, sample)
        weights = [i for name in space.weights for i in range(space.span(name).start, space.span(name).stop)]
        ranked = sorted(weights, key=lambda i: (-abs(float(gradient[i])), i))[:25]
        assert values["parameter"] == ranked
        for place, index in enumerate(ranked):
            edited = flat(network)
            edited[index] -= 1 / gradient[index]
            changed = with_parameters(network, edited)
            right = is_right(changed, sample)
            assert values["corrected"][place] == right
            with torch.no_grad():
                loss = float(torch.nn.functional.cross_entropy(changed(sample.image), sample.label))
            assert values["sample_loss"][place] == pytest.approx(loss, rel=1e-4, abs=1e-5)
            found = [values[name][place] for name in ("train_loss", "train_accuracy", "test_accuracy")]
            if not right:
                assert found == [None] * 3
                continue
            seen += 1
            figures = full(changed, summaries._images).base.figures
            wanted = (figures.train_loss, figures.train_accuracy, figures.test_accuracy)
            assert found == pytest.approx(wanted, rel=1e-5)
    assert seen, "some weight corrects some sample, or this tests nothing"


@pytest.mark.slow
def test_more_ranks_than_weights_with_a_gradient(case):
    values = measure(GradientRanks(count=10**8), case, case[3][0]) if len(flat(case[0])) < 20_000 else None
    if values is not None:
        gradient = gradient_of(case[0], case[3][0])
        weights = case[1].candidates & (gradient != 0)
        assert len(values["parameter"]) == int(weights.sum())


@pytest.mark.parametrize("form", ["second_order_step", "gradient_product"])
def test_the_loss_change_is_counted_bin_by_bin(case, form):
    network, problem, _, samples = case
    values = measure(LossChange(), case, samples[0])
    gradient = gradient_of(network, samples[0]).double()
    with problem.trying() as trial:
        mean = trial.mean_gradient.double()
    estimates, rising = [], 0
    for index in problem.candidates.nonzero().flatten().tolist():
        g, bar = float(gradient[index]), float(mean[index])
        step = (-g if form == "gradient_product" else -1 / g) if g else 0.0
        estimates.append(abs(bar * step))
        rising += bar * step > 0
    positive = [value for value in estimates if value > 0]
    assert values[f"{form}.zero"][0] == pytest.approx(len(estimates) - len(positive), abs=5)
    assert values[f"{form}.rising"] == [pytest.approx(rising, abs=5)]
    counts = dict(zip(values[f"{form}.exponent"], values[f"{form}.count"], strict=True))
    assert all(counts.values())
    assert sum(counts.values()) + values[f"{form}.zero"][0] == len(estimates)
    bins = [math.floor(4 * math.log10(value)) for value in positive]
    wrong = sum(abs(bins.count(k) - counts.get(k, 0)) for k in {*bins, *counts})
    assert wrong <= 0.002 * len(positive) + 2, "but for rounding at an edge"
    ordered = np.sort(estimates)
    for percent, found in zip((95, 98), values[f"{form}.percentiles"], strict=True):
        assert found == pytest.approx(ordered[round(percent / 100 * len(ordered)) - 1], rel=1e-3)


def test_the_layers_add_up(case):
    network, problem, _, samples = case
    space, gradient = problem.current.space, gradient_of(network, samples[1]).abs().double()
    values = measure(LayerGradients(), case, samples[1])
    assert values["layer"] == [name for name in space.names if name.endswith("weight")]
    with_gradient = sum(float(gradient[space.span(name)].sum()) > 0 for name in values["layer"])
    for place, name in enumerate(values["layer"]):
        part = gradient[space.span(name)]
        assert values["size"][place] == len(part)
        assert values["nonzero"][place] == int((part > 0).sum())
        assert values["magnitude"][place] == pytest.approx(float(part.sum()), rel=1e-4)
        assert values["largest"][place] == pytest.approx(float(part.max()), rel=1e-5)
        share = (1 if part.sum() > 0 else 0) / with_gradient
        assert values["normalised"][place] == pytest.approx(share, rel=1e-5)
        largest = share * float(part.max() / part.sum()) if share else 0
        assert values["normalised_largest"][place] == pytest.approx(largest, rel=1e-4)


def test_a_portrait_is_the_image_itself(case, tiny):
    network, *_, samples = case
    for sample in samples:
        found = measure(Portraits(), case, sample)
        assert found["pixels"] == tiny.test.images[sample.index].flatten().tolist()
        assert found["logits"] == pytest.approx(network(sample.image)[0].tolist(), rel=1e-4, abs=1e-5)
