"""Small networks that ordinary users have: statistics, frozen layers, heads that are not used, every type."""

from collections import OrderedDict

import torch
from torch import nn

from bgd import rng
from bgd.knowledge import Knowledge
from bgd.methods.base import Sample
from bgd.parameters import ParameterSpace

CLASSES, IMAGES = 4, 40


def layers():
    """Convolution, batch normalisation with statistics of its own, and two linear layers; input (N, 1, 8, 8)."""
    with rng.torch_seeded(rng.stream(0, "init")):
        made = OrderedDict(
            conv=nn.Conv2d(1, 3, 3, stride=2),
            norm=nn.BatchNorm2d(3),
            relu=nn.ReLU(),
            flatten=nn.Flatten(),
            lin1=nn.Linear(27, 8),
            relu1=nn.ReLU(),
            lin2=nn.Linear(8, CLASSES),
        )
        made["norm"].running_mean.normal_()
        made["norm"].running_var.uniform_(0.5, 2)
    return made


class WithSpareHead(nn.Module):
    """A head that forward never calls, as a second exit for training alone has it."""

    def __init__(self, used=False):
        super().__init__()
        self.body = nn.Sequential(layers())
        self.spare = nn.Linear(8, 3)
        self.used = used

    def forward(self, images):
        out = self.body(images)
        return out + 0 * self.spare(out.new_ones(1, 8)).sum() if self.used else out


def odd_network(kind):
    """A network in eval mode; `kind` is one of `KINDS`."""
    network = WithSpareHead() if kind == "unused head" else nn.Sequential(layers())
    if kind == "frozen layer":
        network.conv.requires_grad_(False)
        network.lin1.requires_grad_(False)
    return network.to(getattr(torch, kind, torch.float32)).eval()


KINDS = ("batch norm", "frozen layer", "unused head", "float64", "bfloat16", "float16")


def images_of(network):
    """Images (40, 1, 8, 8) in the network's type, always the same."""
    images = torch.randn(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return images.to(next(network.parameters()).dtype)


@torch.no_grad()
def wrong_sample(network):
    """The image whose second class is closest to its first; the label is the second."""
    images = images_of(network)
    values, classes = network(images).topk(2)
    place = int((values[:, 0] - values[:, 1]).double().add(10.0 * (values[:, 0] == values[:, 1])).argmin())
    return Sample(place, images[place : place + 1], classes[place, 1:2])


def known_of(network):
    """Everything that a method may ask for, statistics as they are read back from a file."""
    images, space = images_of(network), ParameterSpace.of(network)
    labels = network(images).argmax(1).roll(1)

    def curvature(estimator):
        found = estimator.estimate(thawed(network), space, images, labels, rng.stream(0, "curvature"))
        return estimator.restore({name: each.detach() for name, each in found.tensors().items()}, space)

    gradient = torch.full((space.size,), 1e-2, dtype=images.dtype)
    return Knowledge(lambda: gradient, curvature, lambda: images[20:], lambda: (images, labels))


def thawed(network):
    """The same parameters, none frozen and all leading to the outputs, be it by a factor of 0."""
    twin = WithSpareHead(used=True) if isinstance(network, WithSpareHead) else nn.Sequential(layers())
    twin.to(next(network.parameters()).dtype).eval().load_state_dict(network.state_dict())
    return twin


def naming(config, tensors):
    """A method's configuration with other tensors wherever it, or the method in it, names some."""
    named = {key: naming(value, tensors) for key, value in config.items() if isinstance(value, dict)}
    return config | named | ({"tensors": tensors} if config.get("tensors") else {})


def state_of(network):
    """All that a trial must put back: the bits of parameters and buffers, modes, what is frozen, hooks."""
    return (
        {
            name: each.reshape(-1).contiguous().view(torch.uint8).tolist() if each.dim() else each.item()
            for name, each in network.state_dict().items()
        },
        [module.training for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()],
        [parameter.grad for parameter in network.parameters()],
    )
