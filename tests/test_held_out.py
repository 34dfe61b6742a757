"""What options are chosen by: errors among the images set aside."""

import logging
import re

import pytest
import torch

from experiments.jobs import execute
from experiments.jobs.ending import Terminated
from experiments.jobs.process import core_threads
from scripts import held_out


@pytest.fixture
def call(tmp_path):
    def called(*arguments):
        return held_out.main(
            ["profile=smoke", "network=mlp", "device=cpu", f"output_dir={tmp_path}", *arguments]
        )

    return called


@pytest.mark.parametrize(
    ("setting", "words"), [("reloading", "negative flips"), ("non_reloading", "untouched accuracy")]
)
def test_a_method_is_run_on_errors_that_are_no_test_images(call, capsys, monkeypatch, tiny, setting, words):
    made, plain = [], held_out.HeldOut

    def bench(*arguments):
        made.append(plain(*arguments))
        return made[-1]

    monkeypatch.setattr(held_out, "HeldOut", bench)
    assert call("method=last_layer_weight", f"setting={setting}") == 0
    said = capsys.readouterr().out
    errors, images = map(int, re.search(r"(\d+) errors among (\d+) images", said).groups())
    (one,), half = made, len(tiny.held_out) // 2
    assert images == len(one.data.test) == len(tiny.held_out) - half
    assert errors == len(one.base.errors) > 0
    assert (one.data.test.images == tiny.held_out.images[half:]).all()
    assert (one.data.held_out.images == tiny.held_out.images[:half]).all()
    assert words in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("method=least_hrm", "did you mean 'least_harm'?"),
        ("method.nothing=1", "method.nothing: there is no such key"),
        ("+foo=1", "foo: there is no such key"),
        ("seed=0,1", "seed=0,1: several values are a sweep"),
        ("-m seed=0,1", "2 runs: one at a time is looked at here"),
        ("experiment=table_4_2", "experiment=table_4_2: a preset is a sweep"),
        ("probe=gradient_ranks", "probe: only corrections are looked at here"),
        ("threads=100000", "threads=100000: must be from 1 to"),
    ],
)
def test_what_is_wrong_is_named(call, capsys, arguments, message):
    assert call(*arguments.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1


def test_it_has_as_many_threads_as_it_is_told_and_every_core_for_n0_alone(call, monkeypatch):
    seen, plain, correct = [], held_out.HeldOut, held_out.HeldOut.stage
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(2)

    def bench(*arguments):
        seen.append(("N0", torch.get_num_threads()))
        return plain(*arguments)

    def stage(*arguments):
        seen.append(("corrections", torch.get_num_threads()))
        return correct(*arguments)

    monkeypatch.setattr(plain, "stage", stage)
    monkeypatch.setattr(held_out, "HeldOut", bench)
    try:
        assert call("method=output_bias", "threads=1") == 0
    finally:
        torch.set_num_threads(1)
    assert seen == [("N0", core_threads()), ("corrections", 1)]


def test_it_says_now_and_then_how_far_it_is(call, monkeypatch, caplog):
    monkeypatch.setattr(execute, "EVERY", 0.0)
    with caplog.at_level(logging.INFO):
        assert call("method=output_bias") == 0
    found = [re.fullmatch(r".*: (\d+) of (\d+) samples, \d+ s left", line) for line in caplog.messages]
    lines = [line for line in found if line]
    assert [int(line[1]) for line in lines] == list(range(1, int(lines[0][2]) + 1))


@pytest.mark.parametrize(("stop", "status"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_a_signal_ends_it_in_a_sentence(call, capsys, monkeypatch, stop, status):
    def stopped(*_):
        raise stop

    monkeypatch.setattr(held_out, "HeldOut", stopped)
    assert call("method=output_bias") == status
    assert capsys.readouterr().err.startswith("stopped: ")
