"""The multilayer perceptron of the thesis (section 4.2)."""

from collections import OrderedDict

from torch import nn

from experiments.mnist.networks.row import Row


class MLP(Row):
    """784-12-8-10 with ReLU after the two hidden layers: 9,614 parameters.

    Input (N, 1, 28, 28), output logits (N, 10).

    Args:
        hidden1: Width of the first hidden layer.
        hidden2: Width of the second hidden layer.
    """

    # DEVIATION D1: the thesis says "each followed by a ReLU"; its released code has none after the last layer.
    def __init__(self, hidden1: int = 12, hidden2: int = 8) -> None:
        for key, value in (("hidden1", hidden1), ("hidden2", hidden2)):
            if value < 1:
                raise ValueError(f"{key}={value}: must be at least 1")
        super().__init__(
            OrderedDict(
                flatten=nn.Flatten(),
                lin1=nn.Linear(784, hidden1),
                relu1=nn.ReLU(),
                lin2=nn.Linear(hidden1, hidden2),
                relu2=nn.ReLU(),
                lin3=nn.Linear(hidden2, 10),
            )
        )
