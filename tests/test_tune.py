"""One search for every method: a budget of trials, a rule, and a log that is gone on with."""

import json
import logging

import pytest

from scripts import tune
from scripts.tune import Contender, Search

GRID = """\
trials: 2
contenders:
  bias:
    given: [method=output_bias, setting=reloading, scale.samples=3]
    grid: ["method.margin=0.001,0.1"]
  row:
    given: [method=last_layer_weight, setting=non_reloading, scale.samples=3]
"""


@pytest.fixture
def call(tmp_path):
    grid, log = tmp_path / "grid.yaml", tmp_path / "log" / "trials.jsonl"
    grid.write_text(GRID)

    def called(*arguments):
        common = ["profile=smoke", "network=mlp", "device=cpu", f"output_dir={tmp_path}"]
        return tune.main([*common, "--grid", str(grid), "--log", str(log), *arguments])

    called.grid, called.log = grid, log
    return called


def line(contender, options, **numbers):
    return {"contender": contender, "options": options, "numbers": numbers}


@pytest.mark.slow
def test_a_trial_is_made_once_and_the_chosen_ones_are_said(call, capsys, caplog):
    caplog.set_level(logging.INFO)
    assert call("--only", "bias") == 0
    first = tune.read_log(call.log)
    assert [each["options"] for each in first] == [["method.margin=0.001"], ["method.margin=0.1"]]
    assert all(each["numbers"]["correct"] == 100 and each["numbers"]["samples"] == 3 for each in first)
    call.log.write_text(
        json.dumps(first[0]) + "\n" + json.dumps(first[1])[:40]
    )  # cut off while it was written
    capsys.readouterr()
    assert call() == 0
    said, now = capsys.readouterr().out, tune.read_log(call.log)
    assert [each["contender"] for each in now] == ["bias", "bias", "row"]
    assert now[0] == first[0]
    assert (now[1]["trial"], now[1]["numbers"]["score"]) == (first[1]["trial"], first[1]["numbers"]["score"])
    assert {"untouched", "retention"} <= set(now[2]["numbers"])
    assert "plan: 2 trials to be made, 1 in the log" in caplog.text
    assert "bias:\n- method.margin=" in said
    assert "| row |  | 1 |" in said
    assert call("--report") == 0
    assert capsys.readouterr().out in said
    assert len(tune.read_log(call.log)) == 3


def test_the_rule():
    few = Contender(("method=a",), at_most={"changed_max": 5}, at_least={"noise": 80})
    assert few.merit({"changed_max": 9, "noise": 90, "correct": 100, "score": 0}) < few.merit(
        {"changed_max": 5, "noise": 80, "correct": 10, "score": -9}
    )
    search = Search(9, {"a": Contender(("method=a",)), "none": Contender(("method=b",))})
    wrong, harmful, good, tie = (
        line("a", ["x=0"], correct=98.9, score=0.0),
        line("a", ["x=1"], correct=99.9, score=-2.0),
        line("a", ["x=2"], correct=99.1, score=-1.0),
        line("a", ["x=3"], correct=99.4, score=-1.0),
    )
    assert tune.chosen(search, [wrong, harmful, good, tie]) == {"a": good}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials: 2", "trials: 1", "bias: 2 trials, must be at most 1, as of every method"),
        (
            "given: [method=output_bias",
            "givn: [method=output_bias",
            "givn: unknown key; did you mean 'given'",
        ),
        ("method=output_bias", "method=output_bia", "did you mean 'output_bias'?"),
        ("method.margin=0.001,0.1", "method.margn=1", "method.margn"),
        ("method.margin=0.001,0.1", "method.margin=-1", "margin"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_done(call, capsys, old, new, message):
    call.grid.write_text(GRID.replace(old, new))
    assert call() == 2
    assert message in capsys.readouterr().err
    assert not call.log.exists()


def test_a_contender_that_does_not_exist_is_named(call, capsys):
    assert call("--only", "bia") == 2
    assert "--only=bia: no such contender; did you mean 'bias'?" in capsys.readouterr().err
