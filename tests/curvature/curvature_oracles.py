"""Small networks in float64, and curvature as its definition has it: one image, one class, one entry after another."""

from collections import OrderedDict
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bgd.parameters import ParameterSpace

N = 7  # images; batches of 3 leave one over
close = partial(torch.testing.assert_close, rtol=1e-8, atol=1e-13)  # float64: rounding, many times over


class Swap(nn.Module):
    """Makes (B, 1, 6, 6) images rows of six, (B, 6, 6)."""

    def forward(self, values):
        return values.squeeze(1)


def mlp(activation=nn.Tanh):
    return nn.Sequential(
        OrderedDict(flatten=nn.Flatten(), lin1=nn.Linear(36, 4), act=activation(), lin2=nn.Linear(4, 3))
    )


def conv(activation=nn.Tanh):
    """Strides, padding and dilation that differ by axis; a layer without a bias."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 2, (3, 2), stride=(1, 2), padding=(1, 0)),
            act1=activation(),
            pool=nn.MaxPool2d((2, 1)),
            conv2=nn.Conv2d(2, 3, (2, 2), dilation=(2, 1), bias=False),
            act2=activation(),
            flatten=nn.Flatten(),
            lin=nn.Linear(6, 3),
        )
    )


def rows():
    """A linear layer that is put to six rows of each image."""
    return nn.Sequential(
        OrderedDict(
            swap=Swap(), lin1=nn.Linear(6, 2), act=nn.Tanh(), flatten=nn.Flatten(), lin2=nn.Linear(12, 3)
        )
    )


def other():
    """Layers that are neither linear nor plain convolutions, between those that are."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 2, 3),
            norm=nn.BatchNorm2d(2),
            act=nn.Tanh(),
            grouped=nn.Conv2d(2, 4, 3, groups=2),
            circular=nn.Conv2d(4, 1, 3, padding=1, padding_mode="circular"),
            same=nn.Conv2d(1, 1, 3, padding="same"),
            flatten=nn.Flatten(),
            lin=nn.Linear(4, 3),
        )
    )


NETWORKS = {"mlp": mlp, "conv": conv, "rows": rows, "other": other}


def case(build, images=N):
    """A network in float64, its space, images and labels."""
    torch.manual_seed(3)
    network = build().double().eval()
    drawn = torch.randn(images, 1, 6, 6, dtype=torch.float64)
    return network, ParameterSpace.of(network), drawn, torch.arange(images) % 3


def estimated(estimator, network, space, images, labels):
    return estimator.estimate(network, space, images, labels, np.random.default_rng(0))


def gradient(network, value):
    """The gradient of a number by all parameters (|W|,)."""
    found = torch.autograd.grad(value, list(network.parameters()), retain_graph=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in found])


def gradients(network, images, labels):
    """The gradient of each image's cross-entropy (N, |W|)."""
    return torch.stack(
        [
            gradient(network, F.cross_entropy(network(x[None]), y[None]))
            for x, y in zip(images, labels, strict=True)
        ]
    )


def gauss_newton(network, images, temperature=1.0):
    """Mean over images of J^T (diag(p) - p p^T) J (|W|, |W|)."""
    total = 0
    for image in images:
        logits = network(image[None])[0]
        jacobian = torch.stack([gradient(network, logit) for logit in logits])
        p = (logits.detach() / temperature).softmax(0)
        total = total + jacobian.T @ (p.diag() - torch.outer(p, p)) @ jacobian
    return total / len(images)


def hessian(network, images, labels):
    """Second derivative of the mean cross-entropy (|W|, |W|), by `torch.autograd.functional`."""
    names = [name for name, _ in network.named_parameters()]
    shapes = [parameter.shape for parameter in network.parameters()]

    def loss(flat):
        parts = flat.split([shape.numel() for shape in shapes])
        named = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return F.cross_entropy(torch.func.functional_call(network, named, (images,)), labels)

    flat = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    return torch.autograd.functional.hessian(loss, flat)


def hadamard(order):
    """The rows of a Hadamard matrix of a power of two (Sylvester)."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < order:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix


def dense(curvature, size, like):
    """A curvature as the matrix that `multiply` says it is (|W|, |W|)."""
    return torch.stack([curvature.multiply(row) for row in torch.eye(size, dtype=like.dtype)])
