"""Effects that people read, against plain torch and loops over inputs."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

import bgd
from bgd.comparison import Effects
from bgd.errors import ConfigError
from bgd.evaluation import MarginEvaluation
from bgd.flat import NetworkError
from bgd.markdown import markdown
from bgd.parameters import ParameterSpace

CLASSES = ("cat", "dog", "bird", "fish")
INPUTS = torch.randn(150, 6, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


@pytest.fixture(scope="module")
def labels(model):
    labels = model(INPUTS).argmax(1)
    labels[::5] = (labels[::5] + 1) % 4
    return labels


@pytest.fixture(scope="module")
def patch(model):
    x = INPUTS[:1]
    return bgd.correct(model, x, int(model(x).argsort()[0, 0]), "output_bias").patch


def lead(logits, label):
    """By how much a row of logits leads at a label, the obvious way."""
    return float(logits[label]) - max(float(each) for at, each in enumerate(logits) if at != label)


@pytest.fixture(scope="module")
def rows(model, patch, labels):
    """Label and logits of each input, without and with the patch."""
    with torch.no_grad():
        before = model(INPUTS).double()
        with patch.applied(model):
            after = model(INPUTS).double()
    return list(zip(labels.tolist(), before, after, strict=True))


def test_effects_are_those_of_a_loop_over_inputs(model, patch, labels, rows):
    found = bgd.effects(model, patch, INPUTS, labels, CLASSES)
    pairs = [(int(before.argmax()), int(after.argmax())) for _, before, after in rows]
    flips = [at for at, pair in enumerate(pairs) if pair[0] != pair[1]]
    assert found.flipped.tolist() == flips
    assert {(one, two): count for one, two, count in found.transitions} == Counter(pairs[at] for at in flips)
    counts = [each.inputs for each in found.transitions]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) > 1
    loss = [float(before.log_softmax(0)[y] - after.log_softmax(0)[y]) for y, before, after in rows]
    margin = [lead(after, y) - lead(before, y) for y, before, after in rows]
    torch.testing.assert_close(found.loss_change, torch.tensor(loss).double(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.margin_change, torch.tensor(margin).double(), rtol=1e-4, atol=1e-5)
    assert found.agreement == pytest.approx(1 - len(flips) / 150)
    assert found.loss_quantiles()[0.5] == pytest.approx(sorted(loss)[74], abs=1e-5)
    assert found.loss_quantiles()[0.95] == pytest.approx(sorted(loss)[142], abs=1e-5)
    assert found.margin_quantiles()[0.0] == pytest.approx(min(margin), abs=1e-5)


def test_effects_on_lots_of_inputs_are_those_on_all(model, patch, labels):
    whole = bgd.effects(model, patch, INPUTS, labels, CLASSES)
    lots = zip(INPUTS.split(70), labels.split(70), strict=True)
    joined = Effects.cat([bgd.effects(model, patch, *lot, CLASSES) for lot in lots])
    assert joined.transitions == whole.transitions
    assert joined.classes == CLASSES
    torch.testing.assert_close(joined.margin_change, whole.margin_change, rtol=0, atol=1e-5)


def test_as_plain_numbers_they_say_the_same(model, patch, labels):
    found = bgd.effects(model, patch, INPUTS, labels, CLASSES)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["flipped"] == found.flipped.tolist()
    assert plain["transitions"][0]["words"].split(" to ")[0] in CLASSES
    assert sum(each["count"] for each in plain["transitions"]) == len(found.flipped)
    assert plain["loss_change"]["worst"] == found.loss_quantiles()[1.0]
    assert float(found.loss_change[plain["loss_change"]["worst_input"]]) == plain["loss_change"]["worst"]
    assert float(found.margin_change[plain["margin_change"]["worst_input"]]) == found.margin_quantiles()[0.0]
    unlabelled = bgd.effects(model, patch, INPUTS).to_dict()
    assert unlabelled["accuracy"] is None
    assert unlabelled["flipped"] == plain["flipped"]


def test_the_paragraph_has_names_counts_and_the_worst_input(model, patch, labels):
    found = bgd.effects(model, patch, INPUTS, labels, CLASSES)
    words, first = found.words(), found.transitions[0]
    assert f"{len(found.flipped)} of 150 inputs change class" in words
    assert f"{first.inputs} from {CLASSES[first.before]} to {CLASSES[first.after]}" in words
    assert f"(input {int(found.loss_change.argmax())})" in words
    assert "not finite" not in words
    assert len(found.table().splitlines()) == 2 + len(found.transitions)
    assert "model's own class" in bgd.effects(model, patch, INPUTS).words()


def test_bounds_refuse_with_a_sentence_beyond_them_and_say_nothing_within(model, patch, labels):
    found = bgd.effects(model, patch, INPUTS, labels)
    flips, lost = len(found.flipped), len(found.broken) - len(found.fixed)
    assert flips > lost > 0
    assert found.within() == found.within(max_flips=flips, max_drop=lost / 150) == ""
    assert found.within(max_flips=flips / 150) == found.within(max_flips=np.int64(flips)) == ""
    assert f"max_flips={flips - 1} allows {flips - 1}" in found.within(max_flips=flips - 1)
    assert "of 150 inputs change class" in found.within(max_flips=(flips - 0.5) / 150)
    assert f"by {lost} of 150 inputs" in found.within(max_drop=(lost - 0.5) / 150)
    unlabelled = bgd.effects(model, patch, INPUTS)
    assert unlabelled.within(max_drop=flips / 150) == ""
    assert "agreement with the unpatched model" in unlabelled.within(max_drop=(flips - 1) / 150)


@pytest.mark.parametrize("count", range(0, 101, 7))
def test_a_share_allows_as_many_as_it_is_of(count):
    """Whatever rounding makes of share times count: 0.29 * 100 is below 29."""
    before = MarginEvaluation(torch.zeros(100).double(), torch.zeros(100).long(), torch.zeros(100).double())
    after = MarginEvaluation(before.losses, (torch.arange(100) < count).long(), before.margins)
    found = Effects(before, after, torch.zeros(100).long())
    assert found.within(max_flips=count / 100, max_drop=count / 100) == ""


@pytest.mark.parametrize(
    "bound", [{"max_flips": -1}, {"max_flips": 1.5}, {"max_drop": 3}, {"max_drop": "1"}, {"max_flips": True}]
)
def test_a_bound_out_of_range_is_named(bound, model, patch):
    (key,) = bound
    with pytest.raises(ConfigError, match=f"{key}="):
        bgd.effects(model, patch, INPUTS[:5]).within(**bound)


def test_an_overflow_is_a_class_of_its_own_a_flip_and_an_infinite_loss(model):
    space = ParameterSpace.of(model)
    at = torch.tensor([space.size - 1])
    old = model[2].bias.detach()[-1:].clone()
    patch = bgd.Patch.sparse(space, at, old, torch.full_like(old, torch.inf))
    found = bgd.effects(model, patch, INPUTS, model(INPUTS).argmax(1), CLASSES)
    assert len(found.flipped) == len(found.broken) == len(INPUTS)
    assert {each.after for each in found.transitions} == {-1}
    assert found.loss_quantiles()[0.0] == math.inf
    assert found.margin_quantiles()[1.0] == -math.inf
    assert "150 inputs with the patch and 0 without it have no class" in found.words()
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["no_class"] == {"before": 0, "after": 150}
    assert plain["loss_change"]["worst"] is None
    back = Effects(found.after, found.before, found.labels)
    assert len(back.fixed) == 150
    assert back.loss_quantiles()[1.0] == -math.inf
    same = Effects(found.after, found.after, found.labels)
    assert not len(same.flipped)
    assert set(same.loss_quantiles().values()) == {0.0}


def test_a_fork_of_an_evaluator_finds_margins_too(model, patch):
    evaluator = bgd.Evaluator(model, INPUTS)
    assert torch.equal(evaluator.fork().after(patch).margins, evaluator.after(patch).margins)


@pytest.mark.parametrize("names", [CLASSES[:3], "name"])
def test_each_class_has_a_name_or_none_has(names, model, patch):
    if len(names) == 3:
        with pytest.raises(ConfigError, match="the model has 4 classes"):
            bgd.effects(model, patch, INPUTS, classes=names)
    else:
        with pytest.raises(ConfigError, match="each needs a name"):
            bgd.Evaluator(model, INPUTS, classes=names)


def test_a_model_whose_outputs_depend_on_the_batch_is_refused(model, patch):
    class Centred(nn.Sequential):
        def forward(self, x):
            logits = super().forward(x)
            return logits - 0.5 * logits.mean()

    with pytest.raises(NetworkError, match="other outputs for an input alone than beside others"):
        bgd.effects(Centred(*model), patch, INPUTS)


def test_a_table_lines_up_and_keeps_its_bars():
    lines = markdown(("name", "n"), [("a|b", 1234), ("c\nd", 5), (None, None)]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2:4] == ["| a\\|b | 1,234 |", "| c d  |     5 |"]
