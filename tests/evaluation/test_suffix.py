"""The evaluator that starts at the first changed layer, against the full one."""

import pytest
import torch
from torch import nn

from bgd.evaluation import FullEvaluator, Images, SuffixEvaluator
from bgd.networks import MLP, AlexNet
from bgd.parameters import ParameterSpace
from bgd.patch import Patch


class Branched(nn.Module):
    """Not a sequence of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.top = nn.Linear(784, 4), nn.Linear(784, 4), nn.Linear(4, 10)

    def forward(self, images):
        flat = images.flatten(1)
        return self.top(torch.relu(self.left(flat)) + torch.tanh(self.right(flat)))


def images(seed=0):
    generator = torch.Generator().manual_seed(seed)

    def some(count):
        pixels = torch.randn(count, 1, 28, 28, generator=generator)
        return pixels, torch.randint(10, (count,), generator=generator)

    return Images(*some(70), *some(33))


def patch_of(network, names, seed, size=1.0, count=3):
    """A patch of `count` random values in each of the named tensors."""
    space = ParameterSpace.of(network)
    generator = torch.Generator().manual_seed(seed)
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
    places = [
        torch.randint(space.span(name).start, space.span(name).stop, (count,), generator=generator)
        for name in names
    ]
    index = torch.cat(places).unique()
    return Patch.sparse(
        space, index, flat[index], flat[index] + size * torch.randn(len(index), generator=generator)
    )


def networks():
    torch.manual_seed(0)
    return {"mlp": MLP(), "alexnet": AlexNet(width=0.1), "branched": Branched()}


@pytest.mark.parametrize("name", ["mlp", "alexnet", "branched"])
def test_every_single_layer_edit_equals_the_full_evaluation(name):
    network = networks()[name].eval()
    fast, oracle = (kind(network, images(), 16) for kind in (SuffixEvaluator, FullEvaluator))
    assert fast.base.figures == oracle.base.figures
    for seed, tensor in enumerate(ParameterSpace.of(network).names):
        patch = patch_of(network, [tensor], seed)
        got, wanted = fast.after(patch), oracle.after(patch)
        assert got.figures == wanted.figures
        assert torch.equal(got.test_predictions, wanted.test_predictions)
        assert got.figures != oracle.base.figures, "the edit must show, or this test shows nothing"


@pytest.mark.parametrize("name", ["mlp", "alexnet", "branched"])
def test_accumulated_edits_equal_the_full_evaluation(name):
    network = networks()[name].eval()
    fast, oracle = (kind(network, images(), 16) for kind in (SuffixEvaluator, FullEvaluator))
    names = ParameterSpace.of(network).weights
    state = {tensor: parameter.detach().clone() for tensor, parameter in network.named_parameters()}
    for step in range(8):
        moved = networks()[name]
        moved.load_state_dict(state)
        patch = patch_of(moved, [names[(step * 3) % len(names)], names[-1 - step % 2]], step, size=0.1)
        evaluation = fast.after(patch)
        assert evaluation.figures == oracle.after(patch).figures
        fast.advance(patch, evaluation)
        oracle.advance(patch)
        assert fast.base.figures == oracle.base.figures
        flat = torch.cat([parameter.reshape(-1) for parameter in state.values()])
        patch.apply(flat)
        space = patch.space
        state = {t: flat[space.span(t)].view(s) for t, s in zip(space.names, space.shapes, strict=True)}


def test_values_that_overflow_are_wrong_and_not_a_number():
    network = networks()["alexnet"].eval()
    patch = patch_of(network, ["lin3.weight"], 0, size=float("inf"))
    fast, oracle = (kind(network, images(), 16) for kind in (SuffixEvaluator, FullEvaluator))
    got, wanted = fast.after(patch), oracle.after(patch)
    assert got.figures == wanted.figures
    assert got.figures.train_loss is None
    assert fast.after(patch_of(network, ["lin2.weight"], 0)).figures.train_loss is not None, "it was undone"
