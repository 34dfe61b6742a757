"""Candidates of many images in one pass against setting the weights and running each network."""

import numpy as np
import pytest
import torch
from oracles import with_parameters
from test_glimpse import strided
from torch import nn

from bgd.flat import FlatNetwork
from bgd.methods.bgd import candidates as module
from bgd.methods.bgd.candidates import Candidates, Row
from bgd.methods.layers import Changes
from experiments.mnist.networks import MLP, AlexNet


def convolutions():
    """No fully connected layer."""
    return nn.Sequential(nn.Conv2d(1, 3, 5, stride=3), nn.ReLU(), nn.Conv2d(3, 10, 8), nn.Flatten())


NETWORKS = [MLP, lambda: AlexNet(width=0.1), strided, convolutions]


def prepared(make, count, seed=0):
    """A network, images, and what looks at networks near it."""
    torch.manual_seed(seed)
    network, images = FlatNetwork(make()), torch.randn(count, 1, 28, 28)
    return network, images, Candidates(Row.of(network.module, network.space), images)


def drawn(stream, network, most):
    """Some edits of one network: flat indices, in each layer with the same chance, and differences (k,)."""
    spans = [network.space.span(name) for name in network.space.names]
    count = int(stream.integers(most + 1))
    chosen = {
        int(stream.integers(spans[place].start, spans[place].stop))
        for place in stream.integers(len(spans), size=count)
    }
    return np.array(sorted(chosen), np.int64), stream.normal(size=len(chosen)) * 10.0 ** stream.integers(
        -3, 2
    )


def together(edits):
    """Edits of several networks as changes, sorted by parameter."""
    rows = np.repeat(np.arange(len(edits)), [len(indices) for indices, _ in edits])
    indices, change = (np.concatenate(part) for part in zip(*edits, strict=True))
    order = indices.argsort(kind="stable")
    return Changes(rows[order], indices[order], torch.from_numpy(change[order]))


def run(network, image, indices, change):
    """What a network with its weights set says of an image (C,), in float64, and its largest sum on the way."""
    flat = network.flat.double()
    flat[torch.from_numpy(indices)] += torch.from_numpy(change)
    moved, seen = with_parameters(network.module.double(), flat), [image]
    for layer in moved.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(lambda _, given, leaving: seen.append(leaving))
    with torch.no_grad():
        logits = moved(image.double()[None])[0]
    network.module.float()
    return logits, max(float(each.abs().max()) for each in seen)


def check(make, count, networks, seed):
    network, images, candidates = prepared(make, count, seed)
    stream = np.random.default_rng(seed)
    rows = stream.integers(count, size=networks)
    edits = [drawn(stream, network, 6) for _ in rows]
    logits, largest = candidates.look(rows, together(edits))
    for place, (indices, change) in enumerate(edits):
        wanted, most = run(network, images[rows[place]], indices, change)
        assert torch.allclose(logits[place], wanted, rtol=1e-9, atol=1e-9)
        assert float(largest[place]) == pytest.approx(most, rel=1e-9)


@pytest.mark.parametrize("make", NETWORKS)
def test_candidates_are_what_each_network_says_with_its_weights_set(make):
    check(make, 3, 5, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
@pytest.mark.parametrize("make", NETWORKS)
def test_many_candidates_are_what_each_network_says(make, seed):
    check(make, 5, 60, seed)


@pytest.mark.parametrize("room", [1, 3 * 2028])
def test_candidates_in_lots_are_the_same(room, monkeypatch):
    monkeypatch.setattr(module, "ROOM", room)
    check(lambda: AlexNet(width=0.1), 2, 4, 0)


def test_a_candidate_without_an_edit_is_the_network():
    network, images, candidates = prepared(MLP, 2)
    nothing = Changes(np.empty(0, np.int64), np.empty(0, np.int64), torch.empty(0, dtype=torch.float64))
    logits, _ = candidates.look(np.array([1, 0, 1]), nothing)
    with torch.no_grad():
        assert torch.allclose(logits.float(), network.module(images[[1, 0, 1]]), atol=1e-5)


def test_what_is_no_number_shows_in_the_largest_magnitude():
    network, _, candidates = prepared(MLP, 1)
    first = network.space.span("lin1.weight").start
    change = torch.tensor([float("nan")], dtype=torch.float64)
    _, largest = candidates.look(np.array([0, 0]), Changes(np.array([1]), np.array([first]), change))
    assert largest.isnan().tolist() == [False, True]
