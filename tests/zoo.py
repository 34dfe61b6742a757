"""Networks as people write them: small ones in float64, of every kind that may pass for a plain row of layers."""

import types
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import (
    parametrizations,
    parametrize,
    prune,
    spectral_norm as old_spectral_norm,
    weight_norm as old_weight_norm,
)

CLASSES, SIDE, WORDS = 4, 6, 9
PIXELS = SIDE * SIDE


@dataclass(frozen=True)
class Animal:
    """A network.

    Attributes:
        build: Makes it.
        head: Name of the linear layer that its outputs are those of; None where there is none that may be edited.
        why: What the refusal says then.
        tokens: Whether it takes words in place of images.
        differentiable: Whether every parameter is free and leads to the outputs.
    """

    build: Callable[[], nn.Module]
    head: str | None
    why: str = ""
    tokens: bool = False
    differentiable: bool = True


def row(*, bias=True, relu=nn.ReLU):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(PIXELS, 6, bias=bias), relu(), nn.Linear(6, 5, bias=bias), relu(),
        nn.Linear(5, CLASSES, bias=bias),
    )  # fmt: skip


def changed(change, make=row):
    """A network that something is done to."""

    def build():
        network = make()
        return change(network) or network

    return build


def images_through(*layers, channels):
    """Layers between a convolution and a linear layer."""
    return lambda: nn.Sequential(
        nn.Conv2d(1, 2, 3), *(layer() for layer in layers), nn.Flatten(), nn.Linear(channels, CLASSES)
    )


def of(forward, **layers):
    """A module of some layers with this forward function."""

    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            for name, make in layers.items():
                setattr(self, name, make())

    Written.forward = forward
    return Written


def linear(inputs, outputs, **options):
    return lambda: nn.Linear(inputs, outputs, **options)


example = of(
    lambda self, x: self.fc2(F.relu(self.fc1(F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1)))),
    conv=lambda: nn.Conv2d(1, 3, 3), fc1=linear(12, 5), fc2=linear(5, CLASSES),
)  # fmt: skip
features_and_classifier = of(
    lambda self, x: self.classifier(torch.flatten(self.features(x), 1)),
    features=lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
    classifier=lambda: nn.Sequential(
        nn.Dropout(), nn.Linear(12, 5), nn.ReLU(inplace=True), nn.Linear(5, CLASSES)
    ),
)
nested = lambda: nn.Sequential(  # noqa: E731
    nn.Sequential(nn.Conv2d(1, 3, 3), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))), nn.Flatten(),
    nn.Sequential(nn.Linear(12, 5), nn.ReLU(), nn.Sequential(nn.Linear(5, CLASSES))),
)  # fmt: skip
residual = of(
    lambda self, x: self.out(torch.relu(self.one(x.flatten(1))) + self.two(x.flatten(1))),
    one=linear(PIXELS, 5), two=linear(PIXELS, 5), out=linear(5, CLASSES),
)  # fmt: skip


class Scaled(nn.Linear):
    """A linear layer by name alone."""

    def forward(self, values):
        return 2 * super().forward(values) + 1


class Doubled(nn.Module):
    """A parametrization."""

    def forward(self, weight):
        return 2 * weight


class First(nn.Module):
    def forward(self, values):
        return values[0]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(SIDE, 2, batch_first=True), nn.Linear(SIDE, CLASSES)

    def forward(self, images):
        rows = images.squeeze(1)
        return self.head(self.attention(rows, rows, rows, need_weights=False)[0].mean(1))


def hooks(kind, place, hook):
    """A row with a hook on one of its modules."""

    def change(network):
        module = network if place is None else network[place]
        getattr(module, f"register_{kind}")(hook)

    return changed(change)


def negated(_, __, output):
    return -output


def doubled_gradients(_, into, __):
    return tuple(None if gradient is None else 2 * gradient for gradient in into)


def own_forward(network):
    network[3].forward = types.MethodType(lambda self, x: -F.linear(x, self.weight, self.bias), network[3])


def own_network_forward(network):
    network.forward = types.MethodType(lambda self, x: -nn.Sequential.forward(self, x), network)


def tied(network):
    network[3] = nn.Linear(6, 6)
    network[5] = nn.Linear(6, 6)
    network[5].weight = network[3].weight
    network.append(nn.Linear(6, CLASSES))


def adapter(network):
    network[3].adapter = nn.Linear(6, 5)


def bias_first(network):
    layer = network[3]
    weight, bias = layer.weight, layer.bias
    del layer.weight, layer.bias
    layer.register_parameter("bias", bias)
    layer.register_parameter("weight", weight)


def transposed(self, x):
    return self.out(F.linear(self.one(x.flatten(1)), self.one.weight.T))


def head_twice(self, x):
    return self.head(F.linear(torch.relu(self.one(x.flatten(1))), self.head.weight))


def shared_relu(self, x):
    return self.fc3(self.relu(self.fc2(self.relu(self.fc1(self.relu(x).flatten(1))))))


def in_place_residual(self, x):
    hidden = self.one(x.flatten(1))
    return self.out(hidden + self.relu(hidden))


RELU_TWICE = lambda: (lambda relu: nn.Sequential(  # noqa: E731
    nn.Flatten(), nn.Linear(PIXELS, 6), relu, nn.Linear(6, 5), relu, nn.Linear(5, CLASSES)
))(nn.ReLU())  # fmt: skip
NO_HEAD = "no nn.Linear that runs once"
HOOK = "has a .*hook; remove"

ZOO = {
    "row": Animal(row, "5"),
    "row without biases": Animal(lambda: row(bias=False), "5"),
    "row in place": Animal(lambda: row(relu=lambda: nn.ReLU(inplace=True)), "5"),
    "convolutions": Animal(images_through(nn.ReLU, lambda: nn.Conv2d(2, 3, 3), nn.ReLU, channels=12), "5"),
    "nested rows": Animal(nested, "2.2.0"),
    "usual example": Animal(example, "fc2"),
    "features and classifier": Animal(features_and_classifier, "classifier.3"),
    "data parallel": Animal(lambda: nn.DataParallel(row()), "module.5"),
    "data parallel example": Animal(lambda: nn.DataParallel(example()), "module.fc2"),
    "compiled": Animal(lambda: torch.compile(row(), backend="eager"), "_orig_mod.5"),
    "compiled example": Animal(lambda: torch.compile(example(), backend="eager"), "_orig_mod.fc2"),
    "compiled in part": Animal(
        lambda: nn.Sequential(torch.compile(row(), backend="eager"), nn.Identity()), "0._orig_mod.5"
    ),
    "hook on the network": Animal(
        hooks("forward_hook", None, negated), None, "the network has a forward hook"
    ),
    "watching hook on the network": Animal(hooks("forward_hook", None, lambda *_: None), None, HOOK),
    "hook on the head": Animal(hooks("forward_hook", 5, negated), None, HOOK),
    "hook on a hidden layer": Animal(hooks("forward_hook", 3, negated), "5"),
    "hook on a ReLU": Animal(hooks("forward_hook", 2, negated), "5"),
    "pre-hook": Animal(hooks("forward_pre_hook", 3, lambda _, given: (2 * given[0],)), "5"),
    "pre-hook on the network": Animal(
        hooks("forward_pre_hook", None, lambda _, given: (-given[0],)), None, HOOK
    ),
    "backward hook": Animal(hooks("full_backward_hook", 3, doubled_gradients), "5"),
    "backward pre-hook": Animal(hooks("full_backward_pre_hook", 5, lambda _, out: (2 * out[0],)), None, HOOK),
    "forward of a layer's own": Animal(changed(own_forward), "5"),
    "forward of its own": Animal(changed(own_network_forward), None, NO_HEAD),
    "pruned": Animal(changed(lambda n: void(prune.l1_unstructured(n[3], "weight", 0.5))), "5"),
    "pruned head": Animal(
        changed(lambda n: void(prune.l1_unstructured(n[5], "weight", 0.5))),
        None,
        r"it is pruned; torch\.nn\.utils\.prune\.remove\(layer, 'weight'\)",
    ),
    "pruned bias": Animal(
        changed(lambda n: void(prune.random_unstructured(n[5], "bias", 0.5))),
        None,
        r"prune\.remove\(layer, 'bias'\)",
    ),
    "old weight norm": Animal(changed(lambda n: void(old_weight_norm(n[3]))), "5"),
    "old weight norm of the head": Animal(
        changed(lambda n: void(old_weight_norm(n[5]))), None, "remove_weight_norm"
    ),
    "weight norm": Animal(changed(lambda n: void(parametrizations.weight_norm(n[3]))), "5"),
    "weight norm of the head": Animal(
        changed(lambda n: void(parametrizations.weight_norm(n[5]))), None, "remove_parametrizations"
    ),
    "old spectral norm of the head": Animal(
        changed(lambda n: void(old_spectral_norm(n[5]))), None, "remove_spectral_norm"
    ),
    "spectral norm": Animal(changed(lambda n: void(parametrizations.spectral_norm(n[3]))), "5"),
    "parametrized": Animal(
        changed(lambda n: void(parametrize.register_parametrization(n[1], "weight", Doubled()))), "5"
    ),
    "adapter inside a layer": Animal(changed(adapter), "5", differentiable=False),
    "bias before weight": Animal(changed(bias_first), "5"),
    "one layer twice": Animal(
        of(
            lambda self, x: self.out(self.one(self.one(x.flatten(1)))),
            one=linear(PIXELS, PIXELS),
            out=linear(PIXELS, CLASSES),
        ),
        "out",
    ),
    "tied weights": Animal(changed(tied), "6"),
    "weight used elsewhere": Animal(
        of(transposed, one=linear(PIXELS, 5), out=linear(PIXELS, CLASSES)), "out"
    ),
    "head used elsewhere": Animal(
        of(head_twice, one=linear(PIXELS, CLASSES), head=linear(CLASSES, CLASSES)),
        None,
        "shares its parameters with what comes before",
    ),
    "one ReLU twice": Animal(RELU_TWICE, "5"),
    "one ReLU thrice": Animal(
        of(shared_relu, fc1=linear(PIXELS, 6), fc2=linear(6, 5), fc3=linear(5, CLASSES), relu=nn.ReLU), "fc3"
    ),
    "subclass of Linear": Animal(changed(lambda n: n.__setitem__(3, Scaled(6, 5))), "5"),
    "subclass of Linear as head": Animal(
        changed(lambda n: n.__setitem__(5, Scaled(5, CLASSES))), None, "it is a Scaled"
    ),
    "called by keyword": Animal(
        of(
            lambda self, x: self.out(input=torch.relu(self.one(input=x.flatten(1)))),
            one=linear(PIXELS, 5),
            out=linear(5, CLASSES),
        ),
        "out",
    ),
    "residual": Animal(residual, "out"),
    "in place in a residual": Animal(
        of(
            in_place_residual,
            one=linear(PIXELS, 5),
            relu=lambda: nn.ReLU(inplace=True),
            out=linear(5, CLASSES),
        ),
        "out",
    ),
    "in place on the images": Animal(lambda: nn.Sequential(nn.LeakyReLU(0.5, inplace=True), *row()), "6"),
    "batch norm": Animal(images_through(lambda: nn.BatchNorm2d(2), nn.ReLU, channels=32), "4"),
    "layer norm": Animal(
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(PIXELS, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, CLASSES)
        ),
        "4",
    ),
    "group norm": Animal(images_through(lambda: nn.GroupNorm(2, 2), nn.ReLU, channels=32), "4"),
    "PReLU": Animal(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 5), nn.PReLU(5), nn.Linear(5, CLASSES)), "3"
    ),
    "groups": Animal(
        images_through(nn.ReLU, lambda: nn.Conv2d(2, 4, 3, groups=2), nn.ReLU, channels=16), "5"
    ),
    "dilated and strided": Animal(
        images_through(
            lambda: nn.Conv2d(2, 3, (2, 3), stride=(1, 2), padding=(0, 1), dilation=(2, 1)),
            nn.ReLU,
            channels=12,
        ),
        "4",
    ),
    "padding same": Animal(
        images_through(lambda: nn.Conv2d(2, 2, 3, padding="same"), nn.ReLU, channels=32), "4"
    ),
    "padding same, uneven": Animal(
        images_through(lambda: nn.Conv2d(2, 2, 2, padding="same"), nn.ReLU, channels=32), "4"
    ),
    "circular padding": Animal(
        images_through(lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), nn.ReLU, channels=32),
        "4",
    ),
    "pooling with indices": Animal(
        images_through(nn.ReLU, lambda: nn.MaxPool2d(2, return_indices=True), First, channels=8), "5"
    ),
    "pooling over the edge": Animal(
        images_through(nn.ReLU, lambda: nn.MaxPool2d(3, ceil_mode=True), channels=8), "4"
    ),
    "average pooling": Animal(images_through(nn.ReLU, lambda: nn.AvgPool2d(2), channels=8), "4"),
    "adaptive pooling": Animal(images_through(nn.ReLU, lambda: nn.AdaptiveAvgPool2d(1), channels=2), "4"),
    "flattened from the second": Animal(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3),
            nn.Flatten(2),
            nn.Linear(16, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6, CLASSES),
        ),
        "5",
    ),
    "dropout at the end": Animal(lambda: nn.Sequential(*row(), nn.Dropout()), "5"),
    "frozen layer": Animal(changed(lambda n: void(n[3].requires_grad_(False))), "5", differentiable=False),
    "frozen head": Animal(
        changed(lambda n: void(n[5].requires_grad_(False))), None, "it is frozen", differentiable=False
    ),
    "unused head": Animal(
        of(
            lambda self, x: self.head(torch.relu(self.one(x.flatten(1)))),
            one=linear(PIXELS, 5),
            head=linear(5, CLASSES),
            auxiliary=linear(5, CLASSES),
        ),
        "head",
        differentiable=False,
    ),
    "embedding": Animal(
        of(
            lambda self, x: self.head(self.words(x).mean(1)),
            words=lambda: nn.Embedding(WORDS, 5),
            head=linear(5, CLASSES),
        ),
        "head",
        tokens=True,
    ),
    "GRU": Animal(
        of(
            lambda self, x: self.head(self.gru(x.squeeze(1))[0][:, -1]),
            gru=lambda: nn.GRU(SIDE, 4, batch_first=True),
            head=linear(4, CLASSES),
        ),
        "head",
    ),
    "attention": Animal(Attention, "head"),
    "log-probabilities": Animal(lambda: nn.Sequential(*row(), nn.LogSoftmax(1)), None, NO_HEAD),
    "rectified outputs": Animal(lambda: nn.Sequential(*row(), nn.ReLU()), None, NO_HEAD),
    "convolution as head": Animal(
        lambda: nn.Sequential(nn.Conv2d(1, CLASSES, SIDE), nn.Flatten()), None, "none of them runs"
    ),
    "one linear layer": Animal(lambda: nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, CLASSES)), "1"),
}


def void(_):
    """Nothing, of what changed a network in place."""


def make(name, seed=0):
    """A network in float64 and eval mode, with weights of its own size."""
    torch.manual_seed(seed)
    network = ZOO[name].build().double().eval()
    with torch.no_grad():  # what a pruned layer computes is no part of a graph then
        network(inputs(name, 1))
    return network


def inputs(name, count, seed=1):
    """Images (N, 1, 6, 6), or words (N, 6)."""
    generator = torch.Generator().manual_seed(seed)
    if ZOO[name].tokens:
        return torch.randint(WORDS, (count, SIDE), generator=generator)
    return torch.randn(count, 1, SIDE, SIDE, generator=generator, dtype=torch.float64)
