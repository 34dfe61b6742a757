"""Small trainings that tests share."""

from dataclasses import replace
from pathlib import Path

import torch
from torch.func import functional_call

from experiments.companions.data.logic import Xor, Xord
from experiments.companions.data.made import Gaussians
from experiments.companions.losses import CrossEntropy, Squares
from experiments.companions.networks import OPEN, Gate, Mlp, Pairs
from experiments.companions.optimizers import Torch
from experiments.companions.penalties.base import Before, Shape, View
from experiments.companions.starts import Gaussian
from experiments.companions.stops import Epochs
from experiments.companions.training import Training

ROOT = Path(__file__).parents[1] / "data" / "tiny"
STEP = Torch(rate=0.05)
XOR = Training(Mlp((2, 5, 1)), Xor(), Gaussian(0.7), Squares("sum"), STEP, Epochs(4), evaluate=1)
XORD = Training(Pairs(3), Xord(), Gaussian(0.7), Squares(), STEP, Epochs(2), batch_size=5, evaluate=2)
CLOUDS = Training(
    Mlp((2, 6, 2)), Gaussians(20, targets="classes"), Gaussian(0.7), CrossEntropy(), STEP, Epochs(2),
    batch_size=7, evaluate=1,
)  # fmt: skip


def seeds(training, count=3):
    return [replace(training, seed=seed) for seed in range(count)]


def view_of(penalty, network, x, y, loss=None, draw=None, keep=None):
    """A step as a penalty sees it, and the network's parameters, which need gradients."""
    parameters = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}

    def call(known, few, gate=OPEN):
        return functional_call(network, {name: known[name] for name in parameters}, (few, gate))

    gate = Gate(keep)
    loss = loss or CrossEntropy()
    outputs, hidden = call(parameters, x, gate)[:2]
    shape = Shape(len(x), tuple(x.shape[1:]), outputs.shape[1], hidden.shape[1])
    plain = {name: value.detach() for name, value in parameters.items()}
    memory = penalty.remember(Before(call, plain, x, y, loss, shape))
    return View(
        lambda few: call(parameters, few, gate), call, parameters, x, y, call(parameters, x, gate), loss,
        torch.zeros(0) if draw is None else draw, memory,
    )  # fmt: skip
