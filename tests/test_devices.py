"""No operation mixes devices: every method, probe, curvature and evaluator with its tensors on a pretended card."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import known
from oracles import flat, is_right, with_parameters
from pretended import DeviceMix, devices_of, pretended_card

from bgd import rng, training
from bgd.build import build
from bgd.bystanders import Bystanders
from bgd.evaluation import FullEvaluator, Images, IncrementalEvaluator
from bgd.methods.base import Problem
from bgd.parameters import ParameterSpace
from bgd.probes.survey import Survey
from bgd.settings import CORRECTED, Stage, samples_of
from experiments.run import CONF

METHODS, PROBES, SETTINGS = (
    sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in ("method", "probe", "setting")
)
EVALUATORS = {"full": FullEvaluator, "incremental": IncrementalEvaluator}


@pytest.fixture(scope="module", params=["mlp", "alexnet"])
def network(request, trained, trained_alexnet):
    return {"mlp": trained, "alexnet": trained_alexnet}[request.param]


@pytest.fixture
def card():
    with pretended_card():
        yield "cuda"


def posed(network, tiny, card, count=2):
    """A problem on the card, the samples there, and the evaluators' images."""
    problem = Problem(network, known(network, tiny, card), card)
    samples = samples_of(*tiny.test.tensors(card), training.misclassified(network, tiny), count)
    return problem, samples, Images.of(tiny, 60, 40, card)


def stage_of(network, tiny, card, spec, evaluator):
    problem, samples, images = posed(network, tiny, card)
    problem.knowledge = problem.knowledge.restricted(spec.knows)
    own = EVALUATORS[evaluator](network, images)
    logits = FullEvaluator(network, images).test_logits()
    bystanders = Bystanders.of(
        logits, own.base.test_predictions, images.test_labels, [sample.index for sample in samples]
    )
    setting, method = build(spec.setting, "setting"), build(spec.method, "method")
    return Stage(setting, method, 0, problem, own, samples, bystanders)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_runs_on_a_card(name, network, tiny, card, spec_of):
    spec = spec_of(f"method={name}")
    for accumulate in (False, True):
        setting = spec_of("setting=non_reloading" if accumulate else "setting=reloading").setting
        stage = stage_of(network, tiny, card, dataclasses.replace(spec, setting=setting), "incremental")
        for row in stage.rows():
            assert row.patch is None or row.outcome == CORRECTED
        stage.retained()
        assert devices_of([stage.problem.current.flat, stage.problem.original]) == {"cuda"}
