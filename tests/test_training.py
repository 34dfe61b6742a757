"""N0: trained once, resumed after an interruption, never used when damaged."""

import copy
import errno
import json
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from oracles import flat

from bgd import rng
from bgd.curvature.gradient import mean_gradient
from experiments.mnist import training
from experiments.mnist.data import Data
from experiments.mnist.networks import MLP, AlexNet
from experiments.mnist.training import Recipe, state_sha256
from experiments.records import files
from experiments.records.schema import RecordError

RECIPE = Recipe(epochs=3, learning_rate=0.02)


def obtain(folder, tiny, recipe=RECIPE, build=MLP):
    return training.obtain(folder, training.identity({"name": "x"}, recipe, "tiny"), build, recipe, tiny)


def test_the_errors_are_what_the_network_gets_wrong(tiny, tmp_path):
    base = obtain(tmp_path, tiny)
    images, labels = tiny.test.tensors()
    wrong = [i for i in range(len(labels)) if int(base.network(images[i : i + 1]).argmax()) != int(labels[i])]
    assert list(base.errors) == wrong
    assert 0 < len(wrong) < 400
    assert not base.network.training


def test_the_same_recipe_gives_the_same_network_and_another_seed_another(tiny, tmp_path):
    first, second = (obtain(tmp_path / name, tiny) for name in "ab")
    assert first.sha256 == second.sha256
    other = obtain(tmp_path / "c", tiny, Recipe(epochs=3, learning_rate=0.02, seed=1))
    assert other.sha256 != first.sha256
    assert other.id != first.id


def test_training_is_plain_sgd_with_a_falling_rate(tiny):
    """Against a loop that sets the rate itself and draws its orders from the streams by name."""
    recipe = Recipe(
        epochs=3, learning_rate=0.02, momentum=0.5, batch_size=48, decay_every=2, decay=0.1, seed=7
    )
    few = Data("tiny", tiny.train.first(200), tiny.test, tiny.held_out)
    torch.manual_seed(3)
    network = MLP()
    oracle = copy.deepcopy(network)
    training.train(network, recipe, few, "cpu")
    images, labels = few.train.tensors()
    velocity = {name: torch.zeros_like(parameter) for name, parameter in oracle.named_parameters()}
    for epoch, rate in enumerate((0.02, 0.02, 0.002)):
        order = rng.stream(7, "order", epoch).permutation(200).tolist()
        for start in range(0, 200, 48):
            batch = order[start : start + 48]
            oracle.zero_grad()
            torch.nn.functional.cross_entropy(oracle(images[batch]), labels[batch]).backward()
            with torch.no_grad():
                for name, parameter in oracle.named_parameters():
                    velocity[name] = 0.5 * velocity[name] + parameter.grad
                    parameter -= rate * velocity[name]
    assert torch.allclose(flat(network), flat(oracle), atol=1e-6)


def test_a_kept_network_is_not_trained_again(tiny, tmp_path, monkeypatch):
    first = obtain(tmp_path, tiny)
    monkeypatch.setattr(training, "train", lambda *_, **__: pytest.fail("it was trained again"))
    again = obtain(tmp_path, tiny)
    assert (again.sha256, again.errors) == (first.sha256, first.errors)
    assert state_sha256(again.network.state_dict()) == first.sha256


@pytest.mark.parametrize("damage", ["cut", "altered", "facts"])
def test_a_damaged_network_is_reported_and_trained_again(tiny, tmp_path, caplog, damage):
    first = obtain(tmp_path, tiny)
    weights, facts = tmp_path / f"{first.id}.pt", tmp_path / f"{first.id}.json"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-500])
    elif damage == "altered":
        state = torch.load(weights, weights_only=True)
        state["lin1.weight"][0, 0] += 1e-3
        torch.save(state, weights)
    else:
        facts.write_text(facts.read_text()[:40])
    with caplog.at_level(logging.WARNING):
        again = obtain(tmp_path, tiny)
    assert again.sha256 == first.sha256
    assert "is damaged" in caplog.text
    assert json.loads(facts.read_text())["sha256"] == first.sha256


@pytest.mark.parametrize("damage", ["another", "one more", "one less", "seconds", "older"])
def test_r5_facts_beside_the_weights_are_held_to_the_network(tiny, tmp_path, caplog, monkeypatch, damage):
    """A changed digit in the list of errors turns no right image into an error: N0 is evaluated again."""
    first = obtain(tmp_path, tiny)
    facts = tmp_path / f"{first.id}.json"
    record, right = json.loads(facts.read_text()), next(i for i in range(400) if i not in first.errors)
    if damage in ("another", "older"):
        record["errors"][0] = right
    elif damage == "one more":
        record["errors"] = sorted([*record["errors"], right])
    elif damage == "one less":
        del record["errors"][3]
    else:
        record["seconds"] += 1
    if damage == "older":
        del record[training.DIGEST]
    facts.write_text(json.dumps(record))
    monkeypatch.setattr(training, "train", lambda *_, **__: pytest.fail("it was trained again"))
    with caplog.at_level(logging.WARNING):
        again = obtain(tmp_path, tiny)
    assert (again.sha256, again.errors) == (first.sha256, first.errors)
    assert f"{facts} is not what was written" in caplog.text
    caplog.clear()
    assert obtain(tmp_path, tiny).errors == first.errors
    assert caplog.text == "", "the facts are right again"


def test_facts_from_before_they_had_a_digest_are_as_good_where_they_are_right(tiny, tmp_path, caplog):
    first = obtain(tmp_path, tiny)
    facts = tmp_path / f"{first.id}.json"
    record = json.loads(facts.read_text())
    del record[training.DIGEST]
    facts.write_text(json.dumps(record))
    assert obtain(tmp_path, tiny).errors == first.errors
    assert caplog.text == ""
    assert training.DIGEST in json.loads(facts.read_text())


def test_two_processes_that_need_one_n0_train_it_once(tiny, tmp_path, monkeypatch):
    """The second waits for the first; threads stand for processes, a lock file knows no difference."""
    train, calls, seen = training.train, [], threading.Event()

    def slow(*arguments, **options):
        calls.append(threading.get_ident())
        seen.set()
        train(*arguments, **options)

    monkeypatch.setattr(training, "train", slow)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(obtain, tmp_path, tiny)
        seen.wait(60)
        other = pool.submit(obtain, tmp_path, tiny)
        assert one.result().sha256 == other.result().sha256
    assert len(calls) == 1
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".pt"]


def test_a_full_disk_is_named_when_n0_is_kept(tiny, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(RecordError, match=r"\.pt cannot be written: No space left on device"):
            obtain(tmp_path, tiny)
    assert list(tmp_path.iterdir()) == [], "nothing is taken for a kept network"
    assert obtain(tmp_path, tiny).errors


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("build", [MLP, lambda: AlexNet(width=0.05)])
def test_an_interrupted_training_goes_on_to_the_same_network(tiny, tmp_path, monkeypatch, build):
    recipe = Recipe(epochs=3, learning_rate=0.02, decay_every=2, decay=0.5)  # falls after the interruption
    whole = obtain(tmp_path / "whole", tiny, recipe, build)
    epoch, calls = training._epoch, []

    def breaks(*arguments):
        calls.append(arguments[-1])
        if len(calls) == 2:
            raise Interrupted
        return epoch(*arguments)

    clock = iter(range(0, 10_000, 60))  # every epoch takes a minute, so that each leaves a checkpoint
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(training, "_epoch", breaks)
    with pytest.raises(Interrupted):
        obtain(tmp_path / "broken", tiny, recipe, build)
    assert not list((tmp_path / "broken").glob("*.json")), "what is not finished does not count as kept"
    again = obtain(tmp_path / "broken", tiny, recipe, build)
    assert calls == [0, 1, 1, 2], "the epochs before the interruption are not repeated"
    assert again.sha256 == whole.sha256
    assert sorted(path.suffix for path in (tmp_path / "broken").iterdir()) == [".json", ".pt"]


def test_a_damaged_checkpoint_says_what_to_do(tiny, tmp_path):
    identity = training.identity({"name": "x"}, RECIPE, "tiny")
    tmp_path.joinpath(f"{identity}.partial.pt").write_bytes(b"nothing")
    with pytest.raises(RuntimeError, match="delete it"):
        obtain(tmp_path, tiny)


@pytest.mark.parametrize(
    ("key", "value"), [("epochs", 0), ("learning_rate", 0.0), ("batch_size", -1), ("precision", "float16")]
)
def test_a_recipe_out_of_range_is_named(key, value):
    with pytest.raises(ValueError, match=f"{key}="):
        Recipe(**{"epochs": 1, "learning_rate": 0.1, key: value})


def test_the_mean_gradient_is_that_of_the_mean_loss(tiny, trained):
    images, labels = tiny.train.first(250).tensors()
    wide = MLP().double()
    wide.load_state_dict(trained.state_dict())
    loss = torch.nn.functional.cross_entropy(wide(images.double()), labels)
    oracle = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(wide.parameters()))])
    found = mean_gradient(trained, images, labels, batch_size=64)
    assert torch.allclose(found.double(), oracle, atol=1e-7, rtol=1e-4)
