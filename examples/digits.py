"""What three of the examples begin with: the thesis' network, trained for seconds on the 1,000 digits in tests/data."""

from pathlib import Path

import torch
from torch import nn

from bgd import rng
from experiments.mnist import data, training
from experiments.mnist.networks import MLP

TINY = Path(__file__).parents[1] / "tests" / "data" / "tiny"


def trained() -> tuple[nn.Module, data.Data]:
    """Return a network (784-12-8-10) and the digits: `train`, `test`, and `held_out`, which it never saw."""
    digits = data.load("tiny", TINY)
    with rng.torch_seeded(rng.stream(0, "init")):
        network = MLP()
    training.train(network, training.Recipe(epochs=15, learning_rate=0.02), digits, "cpu")
    return network.eval(), digits


def errors(network: nn.Module, digits: data.Data) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the test images (n, 1, 28, 28) that a network gets wrong, and their classes (n,)."""
    images, labels = digits.test.tensors()
    with torch.no_grad():
        wrong = network(images).argmax(1) != labels
    return images[wrong], labels[wrong]
