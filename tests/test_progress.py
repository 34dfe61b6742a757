"""Loops that are followed: the same parts, and seen only while somebody observes."""

import threading

import pytest
import torch
from torch import nn

import bgd
from bgd.progress import Loop, followed, observed, told


def test_parts_are_the_same_observed_or_not():
    assert list(followed("parts", "abc")) == ["a", "b", "c"]
    with observed() as loops:
        seen = []
        for part in followed("outer", range(2)):
            for each in followed("inner", "ab"):
                seen.append((part, each, [(loop.what, loop.done, loop.total) for loop in loops]))
        assert loops == []
    assert seen[-1] == (1, "b", [("outer", 1, 2), ("inner", 1, 2)])
    assert [each[:2] for each in seen] == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]


def test_a_loop_that_ends_before_its_time_is_over():
    with observed() as loops:
        for part in followed("parts", range(9)):
            if part == 2:
                break
        assert loops == []
        with pytest.raises(ZeroDivisionError):
            sum(1 / (part - 1) for part in followed("parts", range(9)))
        assert loops == []
    told("calls", 1, 2)


def test_calls_are_a_loop_from_the_first_to_the_last():
    with observed() as loops:
        told("calls", 1, 3)
        told("calls", 2, 3)
        assert [(each.what, each.done, each.total) for each in loops] == [("calls", 2, 3)]
        told("calls", 3, 3)
        assert loops == []


def test_another_thread_observes_nothing_of_this_one():
    with observed() as loops:
        thread = threading.Thread(target=lambda: told("calls", 1, 3))
        thread.start()
        thread.join()
        assert loops == []


def test_long_loops_of_the_library_are_followed(monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    x, keep = torch.randn(3, 6), torch.randn(40, 6)
    labels = model(x).argsort(1, descending=True)[:, 1]
    knowledge = bgd.Knowledge.of(model, keep=keep, training=(keep, model(keep).argmax(1)))
    begun = set()

    def noted(what, total):
        begun.add(what.split(",")[0])
        return Loop(what, total)

    monkeypatch.setattr("bgd.progress.Loop", noted)
    with observed():
        for method in ("bgd_c", "last_layer_lp_l1_keep", "kl_retrain", "least_harm_kfac"):
            bgd.correct(model, x, labels, method, knowledge=knowledge)
    assert begun >= {
        "inputs",
        "iterations of the search",
        "batches of training inputs",
        "inputs of layer '2'",
        "steps",
    }
