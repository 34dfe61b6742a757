"""The check of a card: made against the CPU itself, and on a pretended card."""

import json
from dataclasses import replace

import pytest
import torch
from pretended import pretended_card

from bgd.methods.top_k import TopK
from scripts import device_check
from scripts.device.looks import Seen, noted, parting

METHODS = ["top_k", "least_harm_kfac", "retrain"]


@pytest.fixture
def call(tmp_path):
    def called(*arguments, device="cpu", methods=METHODS):
        small = ["--networks", "mlp", "--samples", "1", "--output", str(tmp_path), "--methods", *methods]
        return device_check.main(["--device", device, *small, *arguments])

    return called


def results(folder):
    return json.loads((folder / "check.json").read_text())


@pytest.mark.slow
def test_the_cpu_agrees_with_itself(call, tmp_path):
    assert call() == 0
    items = results(tmp_path)["items"]
    wanted = [
        f"method/mlp/{setting}/{name}" for setting in ("reloading", "non_reloading") for name in METHODS
    ]
    assert list(items) == ["arithmetic", "cost", *wanted]
    for name in wanted:
        found = items[name]
        assert found["holds"]
        assert (found["samples"], found["same_subset"], found["same_bits_twice"]) == (1, 1, 1)
        assert found["parting"] is None
        assert found["largest_loss_difference"] == 0
    assert any(items[name]["corrected"] for name in wanted)
    page = (tmp_path / "check.md").read_text()
    assert "8 of 8 checks made" in page
    assert all(f"| {name} | yes |" in page for name in METHODS)


@pytest.mark.slow
def test_a_second_start_goes_on_and_a_third_has_nothing_to_do(call, tmp_path, monkeypatch, capsys):
    assert call("--seconds", "-1") == 0
    assert "8 checks are left" in capsys.readouterr().out
    run, made = device_check.Check.run, []

    def counted(self, item):
        made.append(item.name)
        if len(made) == 3:
            raise KeyboardInterrupt
        return run(self, item)

    monkeypatch.setattr(device_check.Check, "run", counted)
    with pytest.raises(KeyboardInterrupt):
        call()
    assert list(results(tmp_path)["items"]) == made[:2] == ["arithmetic", "cost"]
    assert call() == 0
    assert made[3:] == list(results(tmp_path)["items"])[2:]
    monkeypatch.setattr(device_check.Check, "run", lambda *_: pytest.fail("it was made again"))
    assert call() == 0
    assert "8 checks on" in capsys.readouterr().out


def test_results_of_another_size_are_named(call, tmp_path, capsys):
    assert call(methods=["top_k"]) == 0
    assert call("--samples", "2", methods=["top_k"]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"error: {tmp_path / 'check.json'} was made with another samples: remove {tmp_path}, or use --output\n"
    )


@pytest.mark.slow
def test_a_method_that_fails_is_a_result(call, tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise ValueError("two devices")

    monkeypatch.setattr(TopK, "correct", broken)
    assert call() == 1
    assert "does not hold: method/mlp/reloading/top_k" in capsys.readouterr().out
    assert "**method/mlp/reloading/top_k does not hold.** ValueError: two devices" in (
        (tmp_path / "check.md").read_text()
    )
    assert results(tmp_path)["items"]["method/mlp/reloading/retrain"]["holds"]


def test_other_bits_the_second_time_do_not_hold(call, tmp_path, monkeypatch):
    correct, calls = TopK.correct, []

    def drifting(self, trial, sample, stream):
        calls.append(sample.index)
        return replace(correct(self, trial, sample, stream), steps=len(calls))

    monkeypatch.setattr(TopK, "correct", drifting)
    assert call(methods=["top_k"]) == 1
    assert not results(tmp_path)["items"]["method/mlp/reloading/top_k"]["holds"]


def test_without_a_card_there_is_one_sentence(call, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert call(device="cuda") == 2
    assert capsys.readouterr().err == (
        "error: --device cuda: torch sees no such device here; --device cpu shows that the check works\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_check_runs_on_a_card(call, card_facts, tmp_path, monkeypatch):
    """A pretended one: what it cannot show is that TF32 rounds, which the check of the arithmetic asks of a card."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(device_check.costs, "REPEATS", 1)
    monkeypatch.setattr(device_check.costs, "IMAGES", 2)
    with pretended_card():
        assert call(device="cuda") == 1
    found = results(tmp_path)
    assert [name for name, item in found["items"].items() if not item["holds"]] == ["arithmetic"]
    assert "error" not in found["items"]["arithmetic"]
    assert found["identity"]["hardware"] == "a pretended card"
    assert found["identity"]["deterministic_algorithms"] is True


def seen(loss, lead, sample=7):
    return Seen(sample, loss, lead, lead > 0)


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ([seen(2, -1), seen(1, 1e-6)], [seen(2, -1), seen(1, -2e-6)], (1, "right", 1e-6)),
        (
            [seen(2, -1), seen(1.5, -1), seen(1, 3)],
            [seen(2, -1), seen(1.5, -1), seen(3, -3)],
            (2, "lower", 0.5),
        ),
        ([seen(2, -1), seen(1, 3)], [seen(2, -1), seen(5, -3)], (1, "draw", None)),
        ([seen(2, -1)], [seen(4, -1)], (0, "draw", None)),
        ([seen(2, -1), seen(1.75, 1)], [seen(2, -1), seen(1.75, 1), seen(1, 2)], (2, "lower", 0.25)),
        ([], [], (0, "draw", None)),
    ],
)
def test_where_two_searches_part(one, other, found):
    place, decision, distance = found
    assert parting(one, other) == {
        "look": place,
        "decision": decision,
        "distance": distance if distance is None else pytest.approx(distance),
    }


def test_looks_are_noted_inside_the_block_alone(problem, samples):
    with noted() as looks, problem.trying() as trial:
        look = trial.answer(samples[0])
    with problem.trying() as trial:
        trial.answer(samples[0])
    (one,) = looks
    assert (one.sample, one.loss, one.right) == (samples[0].index, look.loss, False)
    assert one.lead < 0
