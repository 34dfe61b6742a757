"""Networks that a pass changes, or that do not follow their own parameters, are refused before a correction."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bgd import rng
from bgd.flat import NetworkError
from bgd.methods.base import Problem, Sample
from bgd.methods.last_layer.output_bias import OutputBias


class Scaled(nn.Module):
    """A parameter without dimensions, and one of no rows."""

    def __init__(self):
        super().__init__()
        self.scale, self.none, self.linear = (
            nn.Parameter(torch.tensor(2.0)),
            nn.Parameter(torch.ones(0, 3)),
            nn.Linear(6, 3),
        )

    def forward(self, x):
        return self.scale * self.linear(x) + self.none.sum()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)
        self.register_buffer("mean", torch.zeros(5))

    def features(self, x):
        return F.relu(self.first(x.flatten(1)))

    def forward(self, x):
        return self.last(self.features(x))


class WritesOverItsInput(Net):
    def forward(self, x):
        x -= 0.2
        return super().forward(x)


class Drifts(Net):
    def forward(self, x):
        h = self.features(x)
        self.mean.mul_(0.9).add_(0.1 * h.mean(0))
        return self.last(h - self.mean)


class Noisy(Net):
    def forward(self, x):
        return self.last(F.dropout(self.features(x)))


class Standardised(Net):
    """By its batch, as a BatchNorm without running statistics is."""

    def forward(self, x):
        h = self.features(x)
        return self.last((h - h.mean()) / h.std())


class ChangesItself(Net):
    def forward(self, x):
        with torch.no_grad():
            self.last.weight.mul_(0.99)
        return super().forward(x)


def held_by_a_closure():
    network = Net()
    own = network.forward
    network.forward = lambda x: own(x * 0.5)
    return network


CASES = {
    "writes over its input": WritesOverItsInput,
    "changes its buffer mean": Drifts,
    "other outputs": Noisy,
    "for an input alone than beside others": Standardised,
    "changes its own parameters": ChangesItself,
    "do not follow the parameters": held_by_a_closure,
}


@pytest.mark.parametrize("words", CASES)
def test_a_network_that_a_pass_changes_is_refused_and_left_as_it_was(words):
    with rng.torch_seeded(rng.stream(0, "steady")):
        network, image = CASES[words](), torch.rand(1, 6)
        kept = {name: value.clone() for name, value in network.state_dict().items()}
        given = image.clone()
        problem = Problem(network)
        before = problem.current.flat.clone()
        with pytest.raises(NetworkError, match=words):
            problem.correct(
                OutputBias(margin=0.01), Sample(0, image, torch.tensor([1])), np.random.default_rng(0)
            )
    assert torch.equal(image, given)
    assert torch.equal(problem.current.flat, before)
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("made", [Net, Scaled])
def test_an_ordinary_network_is_not(made):
    with rng.torch_seeded(rng.stream(1, "steady")):
        network, image = made(), torch.rand(1, 6)
    problem = Problem(network)
    before = problem.current.flat.clone()
    sample = Sample(0, image, torch.tensor([0]))
    assert torch.equal(problem.logits(sample), network.eval()(image))
    assert torch.equal(problem.current.flat, before)


@pytest.mark.parametrize("after", [nn.Identity(), nn.LogSoftmax(dim=1)])
def test_a_last_layer_of_zeros_follows_its_parameters_all_the_same(after):
    """As torchvision's vision transformers have it when they are made: parameters of zeros change nothing."""
    network, image = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3), after), torch.ones(1, 6)
    nn.init.zeros_(network[2].weight)
    nn.init.zeros_(network[2].bias)
    problem = Problem(network)
    logits = problem.logits(Sample(0, image, torch.tensor([1])))
    torch.testing.assert_close(logits, logits[:, :1].expand_as(logits))


def test_tokens_and_a_batch_of_one_alone_are_no_fault():
    """Whole numbers stay those of the vocabulary; a network whose graph takes one input at a time is taken."""
    words = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 3))
    one = nn.Sequential(nn.Unflatten(0, (1, 1)), nn.Flatten(), nn.Linear(6, 3))
    for network, image in ((words, torch.tensor([[4, 0, 1]])), (one, torch.rand(1, 6))):
        sample = Sample(0, image, torch.tensor([0]))
        assert torch.equal(Problem(network).logits(sample), network(image))
