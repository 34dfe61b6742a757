"""N0: trained once, resumed after an interruption, never used when damaged."""

import copy
import json
import logging

import pytest
import torch
from oracles import flat

from bgd import rng, training
from bgd.data import Data
from bgd.identity import state_sha256
from bgd.networks import MLP, AlexNet
from bgd.training import Recipe

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
    found = training.mean_gradient(trained, images, labels, batch_size=64)
    assert torch.allclose(found.double(), oracle, atol=1e-7, rtol=1e-4)
