"""The tape of a pass against running the network, on networks of every way of writing."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bgd import rng
from bgd.flat import FlatNetwork
from bgd.methods import tape as module
from bgd.methods.base import Problem, Sample
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.tape import Tape, is_faithful


class Branches(nn.Module):
    """A residual block with batch normalisation, in place, and its input by two ways."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.short = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(1, 4, 1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 5)

    def forward(self, x):
        out = self.second(self.relu(self.norm(self.first(x))))
        out += self.short(x)
        out = self.relu(out)
        return self.head(out.mean((2, 3)))


class Attention(nn.Module):
    """A class token in front of rows as tokens, one encoder layer, the head on the token."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        tokens = torch.cat([self.token.expand(len(x), -1, -1), x.flatten(1, 2)], dim=1)
        return self.head(self.encoder(tokens)[:, 0])


class Tied(nn.Module):
    """One weight used twice, once transposed, and normalised on the way."""

    def __init__(self):
        super().__init__()
        self.weight, self.out = nn.Parameter(torch.randn(8, 64)), nn.Linear(64, 5)

    def forward(self, x):
        hidden = F.linear(x.flatten(1), F.normalize(self.weight, dim=1))
        return self.out(torch.relu(hidden @ self.weight))


class Written(nn.Module):
    """A view is written to, and what it is a view of is read."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(64, 8), nn.Linear(8, 5)

    def forward(self, x):
        hidden = self.inner(x.flatten(1))
        hidden[:, 0] = 1
        return self.out(hidden)


class Numpy(nn.Module):
    """Values leave torch on the way."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(64, 8), nn.Linear(8, 5)

    def forward(self, x):
        hidden = self.inner(x.flatten(1)).detach().numpy() * 2
        return self.out(torch.from_numpy(hidden))


class Asking(nn.Module):
    """Which way a pass goes hangs on its values."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(64, 8), nn.Linear(8, 5)

    def forward(self, x):
        hidden = self.inner(x.flatten(1))
        return self.out(-hidden if hidden.sum() > 0 else hidden)


class Detached(nn.Module):
    """A parameter is read past its module's attribute."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(64, 8), nn.Linear(8, 5)

    def forward(self, x):
        return self.out(torch.sigmoid(x.flatten(1) @ self.inner.weight.data.T + self.inner.bias.detach()))


def lstm():
    class Last(nn.LSTM):
        def forward(self, x):
            return super().forward(x[:, 0])[0][:, -1]

    return Last(8, 5, batch_first=True)


TAPED = [Branches, Attention, Tied, Detached, lstm]
NOT_TAPED = [Written, Numpy, Asking]


def network_of(make, seed=0):
    torch.manual_seed(seed)
    return FlatNetwork(make().eval())


IMAGE = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("make", TAPED, ids=lambda make: make.__name__)
@torch.no_grad()
def test_a_tape_says_what_the_network_says_bit_for_bit(make):
    network = network_of(make)
    space, flat = network.space, network.flat
    before = flat.clone()
    assert is_faithful(network.module, space, flat, IMAGE)
    assert torch.equal(flat, before)
    tape = Tape(network.module, space, flat, IMAGE)
    assert torch.equal(tape.logits, network.module(IMAGE))
    draw = torch.Generator().manual_seed(2)
    weights = space.candidates.nonzero().flatten()
    for _ in range(30):
        indices = weights[torch.randint(len(weights), (2,), generator=draw)]
        kept = flat[indices]
        flat[indices] += torch.randn(2, generator=draw)
        logits, fresh = tape.again({space.locate(int(index))[0] for index in indices})
        assert torch.equal(logits, network.module(IMAGE))
        if torch.rand(1, generator=draw) < 0.4:
            tape.keep(logits, fresh)
        else:
            flat[indices] = kept


def test_what_no_edit_leads_to_is_not_computed_again():
    network = network_of(Branches)
    tape = Tape(network.module, network.space, network.flat, IMAGE)
    everything, head = (len(tape.again({name})[1]) for name in ("first.weight", "head.weight"))
    assert head <= 2 < everything


@pytest.mark.parametrize("make", NOT_TAPED, ids=lambda make: make.__name__)
def test_a_pass_that_no_tape_holds_is_known(make):
    network = network_of(make)
    before = network.flat.clone()
    assert not is_faithful(network.module, network.space, network.flat, IMAGE)
    assert torch.equal(network.flat, before)


@pytest.mark.parametrize("make", TAPED + NOT_TAPED, ids=lambda make: make.__name__)
def test_a_search_with_a_tape_ends_as_one_that_runs_the_network(make, monkeypatch):
    network = network_of(make).module
    label = network(IMAGE).argmin().reshape(1)
    found = []
    for faithful in (is_faithful, lambda *_: False):
        monkeypatch.setattr("bgd.methods.bgd.followed.is_faithful", faithful)
        problem = Problem(network)
        method = SubsetSearch(iterations=5)
        found += [
            problem.attempt(method, Sample(0, IMAGE, label), rng.stream(seed, "method"))[0]
            for seed in range(4)
        ]
    for taped, ran in zip(found[:4], found[4:], strict=True):
        assert (taped.reason, taped.steps) == (ran.reason, ran.steps)
        if ran.patch is not None:
            assert torch.equal(taped.patch.indices, ran.patch.indices)
            assert torch.equal(taped.patch.new, ran.patch.new)


def test_a_forward_function_that_keeps_a_value_for_itself_is_found_out(monkeypatch):
    """Were a hole not seen operation by operation, the comparison with the network would see it."""
    monkeypatch.setattr(module._Recorder, "_parameters_in", lambda recorder, tensor: ())
    network = network_of(Tied)
    assert not is_faithful(network.module, network.space, network.flat, IMAGE)
