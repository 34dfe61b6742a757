"""How far corrections in a row lead: against rows put together again from their patches."""

import pytest
import torch
from oracles import bystanders_of, flat, is_right, with_parameters

from bgd.curvature.gradient import mean_gradient
from bgd.knowledge import Knowledge
from bgd.methods.base import Problem
from bgd.methods.bgd.search import SubsetSearch
from experiments.protocol.figures import Images, full
from experiments.protocol.settings import Setting, Stage
from experiments.records.schema import ALREADY_RIGHT, CORRECTED


@pytest.fixture
def rows(trained, tiny, samples):
    images = Images.of(tiny, 100, 80)
    gradient = mean_gradient(trained, images.train, images.train_labels)
    bystanders = bystanders_of(trained, images, [sample.index for sample in samples])

    def make(accumulate, done=()):
        problem = Problem(trained, Knowledge(lambda: gradient))
        found = full(trained, images)
        stage = Stage(Setting(accumulate), SubsetSearch(), 0, problem, found, samples, bystanders)
        return list(stage.rows(done)), stage

    return make


def test_what_accumulates_is_what_the_patches_say(rows, trained, samples):
    found, stage = rows(True)
    assert {row.outcome for row in found} >= {CORRECTED}
    vector, changed, corrected = flat(trained), set(), []
    for row, sample in zip(found, samples, strict=True):
        if row.patch:
            vector[row.patch["index"]] = torch.tensor(row.patch["new"])
            changed |= set(row.patch["index"])
        network = with_parameters(trained, vector)
        assert row.accumulated.earlier == len(corrected)
        assert row.accumulated.earlier_right == sum(is_right(network, other) for other in corrected)
        assert row.accumulated.union == len(changed)
        assert row.accumulated.drift == pytest.approx(float((vector - flat(trained)).double().norm()))
        if row.outcome == CORRECTED:
            corrected.append(sample)
    assert any(
        row.accumulated.earlier_right < row.accumulated.earlier for row in found
    )  # something was forgotten
    assert stage.retained() == sum(is_right(network, sample) for sample in samples) / len(samples)


def test_an_interrupted_run_knows_what_came_before(rows):
    whole, _ = rows(True)
    rest, _ = rows(True, whole[:3])
    assert [row.accumulated for row in rest] == [row.accumulated for row in whole[3:]]


def test_nothing_accumulates_where_the_network_is_put_back(rows):
    found, stage = rows(False)
    assert {row.accumulated for row in found} == {None}
    assert stage.retained() is None
    assert ALREADY_RIGHT not in {row.outcome for row in found}


def test_a_row_says_what_changed_in_each_tensor_and_what_the_network_answers(rows, trained, samples):
    found, stage = rows(False)
    space = stage.problem.current.space
    for row, sample in zip(found, samples, strict=True):
        if not row.patch:
            continue
        change = torch.zeros(space.size, dtype=torch.float64)
        change[row.patch["index"]] = (
            torch.tensor(row.patch["new"]).double() - torch.tensor(row.patch["old"]).double()
        )
        for name in space.names:
            part = change[space.span(name)]
            count = int((part != 0).sum())
            expected = [count, float(part.norm()), float(part.abs().max())] if count else None
            assert row.layers.get(name) == (pytest.approx(expected) if expected else None)
        vector = flat(trained)
        vector[row.patch["index"]] = torch.tensor(row.patch["new"])
        logits = with_parameters(trained, vector)(sample.image)[0].tolist()
        assert row.logits_after == pytest.approx(logits, rel=1e-4, abs=1e-5)
