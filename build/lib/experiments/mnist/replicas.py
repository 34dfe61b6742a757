"""Replicas of N0: rounding as a source of variance.

Another processor, another library or another number of threads rounds sums otherwise. The parameters of a network that
was trained there differ in their last bits, and so does every decision that is close to a tie. A replica shows on one
machine how much that matters: each parameter of N0 moves to the next float above, to the next below, or stays.
"""

import copy
from dataclasses import replace

import torch
from torch import nn

from bgd import rng
from experiments.mnist.data import Data
from experiments.mnist.training import Base, misclassified, state_sha256


def replica_of(base: Base, number: int, data: Data) -> Base:
    """Return a replica of N0, with the test samples that it gets wrong.

    Args:
        base: N0. It is not changed.
        number: Which replica; 0 is N0 itself.
        data: The test images.
    """
    if number == 0:
        return base
    network = nudged(base.network, number)
    return replace(
        base,
        network=network,
        sha256=state_sha256(network.state_dict()),
        errors=misclassified(network, data),
    )


@torch.no_grad()
def nudged(network: nn.Module, number: int) -> nn.Module:
    """Return a copy of a network, each parameter one float up, one down, or the same: a third of the chance each.

    The moves are drawn from the stream of the number and the parameter's name. Buffers stay.
    """
    network = copy.deepcopy(network)
    for name, parameter in network.named_parameters():
        moves = rng.stream(number, "replica", name).integers(-1, 2, size=tuple(parameter.shape))
        direction = torch.from_numpy(moves).to(parameter)
        towards = torch.where(direction == 0, parameter, direction * torch.inf)
        parameter.copy_(torch.nextafter(parameter, towards))
    return network
