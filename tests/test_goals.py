"""Goals: what they accept, and which offsets lead there."""

import numpy as np
import pytest
import torch
from torch import nn

import bgd
from bgd.errors import ConfigError
from bgd.goals import Goal

LOGITS = torch.tensor([[1.0, 3.0, 2.5, -4.0]])


def met(goal, logits=LOGITS, label=1, outputs=None):
    return goal.met(logits, label, lambda: logits if outputs is None else outputs)


def test_a_label_a_set_and_a_margin():
    assert met(Goal())
    assert not met(Goal(), label=2)
    assert met(Goal(labels={1, 2}), label=3), "the accepted labels stand for the label"
    assert not met(Goal(labels={2, 3}))
    assert met(Goal(margin=0.5))
    assert not met(Goal(margin=0.6))
    assert met(Goal(labels={1, 2}, margin=2.0)), "2.5 is accepted too: the rival is 1.0"


def test_a_probability_is_that_of_the_accepted_labels_together():
    first, both = LOGITS.softmax(1)[0, 1], LOGITS.softmax(1)[0, 1:3].sum()
    assert met(Goal(probability=float(first) - 1e-6))
    assert not met(Goal(probability=float(first) + 1e-6))
    assert met(Goal(labels={1, 2}, probability=float(both) - 1e-6))


def test_a_rule_says_yes_or_which_class():
    assert met(Goal(decide=lambda outputs: True), label=0)
    assert not met(Goal(decide=lambda outputs: False))
    assert met(Goal(decide=lambda outputs: outputs["class"]), label=3, outputs={"class": 3})
    assert met(Goal(decide=lambda outputs: outputs.argmax())), "a tensor of one number is a class"
    assert not met(Goal(decide=lambda outputs: 2))
    assert not met(Goal(decide=lambda outputs: np.bool_(False)), label=0), "a truth value is no class"
    assert met(Goal(decide=lambda outputs: np.int64(3)), label=3)


def test_nothing_is_met_by_logits_that_are_not_finite():
    assert not met(Goal(decide=lambda outputs: True), torch.tensor([[1.0, float("inf")]]))


@pytest.mark.parametrize(
    "goal",
    [
        Goal(margin=0.7),
        Goal(labels={0, 3}),
        Goal(labels={0, 3}, margin=2.0),
        Goal(probability=0.9),
        Goal(probability=0.3),
    ],
)
def test_logits_that_are_right_with_the_first_offset_meet_the_goal(goal):
    """If the distances between rivals stay: the target alone is raised, as far as the offset asks."""
    target = goal.target(LOGITS, 0)
    offset = goal.offset(LOGITS, 0)
    judged = LOGITS if offset is None else LOGITS + offset
    rivals = judged.clone()
    rivals[0, target] = -torch.inf
    raised = LOGITS.clone()
    raised[0, target] += rivals.max() - judged[0, target] + 1e-5
    assert met(goal, raised, 0)
    if goal.margin or (goal.probability or 0) > 0.5:
        raised[0, target] -= 0.05
        assert not met(goal, raised, 0), "and no more than that is asked for"


def test_what_a_user_means():
    assert Goal.of(None) == Goal()
    assert Goal.of({5, 3}) == Goal(labels=(3, 5))
    assert Goal.of([3]).labels == (3,)
    assert Goal.of(bool).decide is bool
    with pytest.raises(ConfigError, match=r"goal=0.3: must be accepted labels such as \{3, 5\}"):
        Goal.of(0.3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"margin": -1}, "goal.margin=-1: must be 0 or more"),
        ({"margin": float("nan")}, "goal.margin=nan"),
        ({"probability": 1.0}, "goal.probability=1.0: must be between 0 and 1"),
        ({"labels": ["cat"]}, r"goal.labels=\['cat'\]: must be class indices"),
        ({"labels": 3}, "goal.labels=3: must be class indices"),
        ({"margin": "1"}, "goal.margin='1': must be a number"),
        ({"probability": "0.9"}, "goal.probability='0.9': must be a number"),
        ({"labels": [2, -1]}, r"goal.labels=\[-1, 2\]: a class is 0 or more"),
    ],
)
def test_values_out_of_range(options, words):
    with pytest.raises(ConfigError, match=words):
        Goal(**options)


def test_an_offset_is_finite_in_every_type():
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        wide = torch.tensor([[1.0, -1.0, 0.5, 0.9]], dtype=dtype) * torch.finfo(dtype).max / 2
        offset = Goal(labels={0, 2}).offset(wide, 0)
        assert torch.isfinite(wide + offset).all(), dtype


def test_no_rival_among_many_is_forgotten():
    """A probability over many classes needs a larger margin than one over two."""
    many = torch.zeros(1, 1000)
    offset = Goal(probability=0.5).offset(many, 7)
    assert float(-offset[7]) == pytest.approx(torch.log(torch.tensor(999.0)).item(), abs=1e-4)


def test_every_goal_is_reached_through_the_face():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 5)).eval(), torch.randn(1, 6)
    _, second, label, *_ = model(x).argsort(descending=True)[0].tolist()
    for goal in (None, {label, second}, Goal(margin=1.5), Goal(probability=0.8)):
        found = bgd.correct(model, x, label, "output_bias", goal=goal)
        assert found.patch is not None, goal
        with found.patch.applied(model):
            assert met(Goal.of(goal), model(x).detach(), label), goal
    strict = bgd.correct(
        model, x, label, "output_bias", goal=lambda out: float(out.softmax(1)[0, label]) > 0.6
    )
    with strict.patch.applied(model):
        assert float(model(x).softmax(1)[0, label]) > 0.6
    never = bgd.correct(model, x, label, "output_bias", goal=lambda out: False)
    assert never.patch is None
    assert "goal is not met" in never.reason
