"""Networks small enough for explicit Jacobians, in float64, and the obvious ways to say what they do."""

from collections import OrderedDict

import numpy as np
import torch
from oracles import flat, with_parameters
from torch import nn
from torch.func import functional_call

from bgd.knowledge import Knowledge
from bgd.methods.base import Problem, Sample
from bgd.methods.least_harm.harm import DivergenceHarm
from bgd.methods.least_harm.tail import Activations, Tail
from bgd.methods.least_harm.target import Target
from bgd.parameters import ParameterSpace

WIDE = (6, 5, 4, 3)  # units: inputs, two hidden layers, classes; 74 parameters
ALL = 10**6  # scope


def network(sizes=WIDE, bias=True, seed=0, dtype=torch.float64):
    """Linear layers with ReLU between them."""
    torch.manual_seed(seed)
    layers = OrderedDict(flatten=nn.Flatten())
    for place in range(1, len(sizes)):
        layers[f"lin{place}"] = nn.Linear(sizes[place - 1], sizes[place], bias=bias)
        if place + 1 < len(sizes):
            layers[f"relu{place}"] = nn.ReLU()
    with torch.no_grad():
        for layer in layers.values():
            for parameter in layer.parameters():  # units both on and off, logits well apart
                parameter.copy_(torch.randn(parameter.shape) / parameter.shape[-1] ** 0.5 * 1.5)
    return nn.Sequential(layers).to(dtype).eval()


def images_of(count, sizes=WIDE, seed=1, dtype=torch.float64):
    """(count, 1, 1, inputs)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 1, sizes[0], generator=generator, dtype=dtype)


def tail_of(made, scope=ALL):
    """The tail, found with an image of the size that the first layer with weights takes."""
    first = next(each for each in made.parameters() if each.dim() > 1)
    image = (
        torch.zeros(1, 1, 28, 28)
        if first.dim() == 4 or first.shape[1] == 784
        else torch.zeros(1, 1, 1, first.shape[1])
    )
    return Tail(made, ParameterSpace.of(made), scope, image.to(first))


def support_of(tail, seed, size):
    """Random parameters, and a change of them that is large enough to switch units on and off."""
    draw = np.random.default_rng(seed)
    indices = torch.from_numpy(draw.choice(tail.size, size, replace=False)).long()
    return tail.support(indices), torch.from_numpy(draw.normal(size=size))


def vector_of(made, tail, support=None, change=None):
    """The tail's parameters (P,), with a change of a support written in."""
    vector = flat(made)[tail.places]
    if support is not None:
        vector[support.indices] += change.to(vector.dtype)
    return vector


def rewritten(made, tail, support, change):
    """A copy of the network with a change of a support written in."""
    whole = flat(made)
    whole[tail.places] = vector_of(made, tail, support, change)
    return with_parameters(made, whole)


def run(made, tail, vector, images):
    """The network's logits (n, C) with a tail's vector (P,) in place of its own parameters, differentiable in it."""
    shapes = {name: parameter.shape for name, parameter in made.named_parameters()}
    parameters, start = {}, 0
    for name in tail.tensors:
        stop = start + shapes[name].numel()
        parameters[name] = vector[start:stop].view(shapes[name])
        start = stop
    assert start == len(vector)
    return functional_call(made, parameters, (images,))


def jacobian(made, tail, vector, images):
    """The logits' derivatives (n, C, P), by autograd."""
    return torch.autograd.functional.jacobian(lambda moved: run(made, tail, moved, images), vector)


def divergence(before, after):
    """Mean KL divergence in nats of logits (n, C) `after` from `before`, image by image and class by class."""
    total = 0.0
    for q, p in zip(before.double().softmax(1), after.double().softmax(1), strict=True):
        total += sum(float(a) * (float(a.log()) - float(b.log())) for a, b in zip(q, p, strict=True))
    return total / len(before)


def harm_of(made, tail, images, active=ALL, before=None):
    """Divergence over some images, from what the network says now or from other logits (n, C)."""
    weights = tail.weights(flat(made))
    activations = Activations(tail.inputs(images), weights)
    return DivergenceHarm(
        tail, weights, activations, activations.logits if before is None else before.T, active
    )


def wrong_samples(made, count, sizes=WIDE, seed=5):
    """Samples with another label than the network's, the runner-up for every second one."""
    found = []
    for place, image in enumerate(images_of(count, sizes, seed, next(made.parameters()).dtype)):
        with torch.no_grad():
            order = made(image[None])[0].argsort(descending=True)
        found.append(Sample(place, image[None], order[1 if place % 2 else -1][None]))
    return found


def target_of(made, tail, sample):
    """A target, and the trial of a problem that is not to be tried otherwise."""
    with Problem(made).trying() as trial:
        return Target(trial, tail, tail.weights(trial.original), sample), trial


def posed(made, images, **more):
    """The network as a problem with a keep-set."""
    return Problem(made, Knowledge(keep_images=lambda: images, **more))


def margin_of(made, sample):
    """By how much the label's logit leads the largest other one."""
    with torch.no_grad():
        logits = made(sample.image)[0].tolist()
    own = logits.pop(int(sample.label))
    return own - max(logits)
