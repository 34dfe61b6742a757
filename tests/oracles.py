"""Slow, obvious statements of what the fast code must equal."""

import copy
import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from bgd.evaluation import FullEvaluator
from bgd.methods.bgd.prior import Magnitude, prior_at
from experiments.protocol.bystanders import Bystanders
from experiments.protocol.figures import full


def widened(network, samples):
    """A copy of the network and its samples in float64, where two ways to a decision come to the same."""
    wide = copy.deepcopy(network).double()
    return wide, [replace(sample, image=sample.image.double()) for sample in samples]


def bystanders_of(network, images, indices):
    """The test images of a run, by the obvious evaluator."""
    logits = FullEvaluator(network, images.test, images.test_labels).logits(images.test)
    predictions = full(network, images).base.test_predictions
    return Bystanders.of(logits, predictions, images.test_labels, indices)


def mean_loss(evaluation):
    return float(evaluation.losses.mean())


def differ(one, two):
    """Whether two evaluations are of different networks."""
    return not torch.equal(one.losses, two.losses)


def flat(network):
    """All parameters as one vector, a copy."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()]).clone()


def with_parameters(network, vector):
    """A copy of the network with these parameters."""
    moved, place = copy.deepcopy(network), 0
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.copy_(vector[place : place + parameter.numel()].view_as(parameter))
            place += parameter.numel()
    return moved.eval()


def is_right(network, sample):
    """Whether the network gets the sample right."""
    with torch.no_grad():
        return int(network(sample.image).argmax()) == int(sample.label)


def gradient(network, sample):
    """Gradient of the sample's loss, flat."""
    moved = copy.deepcopy(network)
    F.cross_entropy(moved(sample.image), sample.label).backward()
    return torch.cat([parameter.grad.reshape(-1) for parameter in moved.parameters()])


def idealized_selector(network, sample, subset, changed):
    """Algorithm 1 (section 3.1) over an ordered subset: put each back, leave it out where the sample stays right.

    Args:
        network: With the original parameters.
        sample: The sample.
        subset: Flat indices, in order.
        changed: The flat vector with every parameter of the subset changed.
    """
    original, current, kept = flat(network), changed.clone(), []
    for index in subset:
        attempt = current.clone()
        attempt[index] = original[index]
        if is_right(with_parameters(network, attempt), sample):
            current = attempt
        else:
            kept.append(index)
    return kept


def evaluate(network, images, labels):
    """Mean loss and accuracy, image by image, in float64."""
    wide = copy.deepcopy(network).double().eval()
    losses, right = [], 0
    with torch.no_grad():
        for image, label in zip(images.double(), labels, strict=True):
            logits = wide(image[None])[0]
            losses.append(float(logits.logsumexp(0) - logits[label]))
            right += int(int(logits.argmax()) == int(label))
    return sum(losses) / len(losses), right / len(losses), losses


class PlainSampler:
    """Draws without replacement from one table of cumulative weights; made anew when less than half of it is left."""

    def __init__(self, weights, stream):
        self._stream = stream
        self._tabulate(np.arange(len(weights)), weights.double().numpy())

    def _tabulate(self, support, weights):
        left = np.flatnonzero(weights)
        self._support, self._weights = support[left], weights[left].copy()
        self._table = np.cumsum(self._weights)
        self._total = self._left = float(self._table[-1]) if len(left) else 0.0

    def draw(self):
        if self._left < 0.5 * self._total:
            self._tabulate(self._support, self._weights)
        if not len(self._support):
            return None
        while True:
            place = int(np.searchsorted(self._table, self._stream.random() * self._total, side="right"))
            place = min(place, len(self._support) - 1)
            weight = self._weights[place]
            if weight > 0:
                self._weights[place] = 0.0
                self._left -= weight
                return int(self._support[place])

    def draw_where(self, accepts, redraws):
        index = self.draw()
        for _ in range(redraws):
            if index is None or accepts(index):
                break
            index = self.draw()
        return index

    def lower(self, by):
        self._tabulate(self._support, np.maximum(0.0, self._weights - by.double().numpy()[self._support]))


def top_k(options, trial, sample):
    """Top-k (section 4.3), a forward pass for every k: the k that makes the sample right, None where none does."""
    gradient = trial.gradient(sample)
    magnitude = trial.space.drop_biases(gradient.abs())
    order = [index for index in magnitude.argsort(descending=True, stable=True).tolist() if magnitude[index]]
    k = options.first
    while True:
        k = min(k, len(order))
        trial.flat[order[:k]] = trial.original[order[:k]] - options.step * gradient[order[:k]]
        if trial.answer(sample).right:
            return k
        if k == len(order):
            return None
        k = max(k + 1, math.ceil(k * options.growth))


def subset_search(options, trial, sample, stream):
    """Algorithm 2 (section 3.4), one forward pass after another: subset, iterations, and the passes it took.

    The trial is left with the subset updated. Subset and reason are what a correction says of them.
    """
    gradient = trial.gradient(sample)
    prior = prior_at(options.prior, trial, sample)
    sampler = PlainSampler(prior.weights(Magnitude(gradient, trial.space)).whole(), stream)
    harmful = options.guard.harmful(trial, gradient) if options.guard else None

    def draw():
        if harmful is None:
            return sampler.draw()
        return sampler.draw_where(lambda index: not harmful[index], options.guard.redraws)

    def write(subset):
        trial.flat.copy_(trial.original)
        trial.flat[subset] += options.update.change(gradient, torch.tensor(subset, dtype=torch.long))

    def attempt(subset):
        write(subset)
        return trial.answer(sample)

    subset = [index for index in (draw() for _ in range(options.subset_size)) if index is not None]
    look, step = attempt(subset), 0
    while step < options.iterations and not (look.right and options.stop == "when_right"):
        step += 1
        if options.probability_update == "printed":
            write(subset)
            sampler.lower(trial.gradient(sample).abs())
        if stream.random() >= options.replace_probability:
            more = [index for index in (draw() for _ in range(options.expansion)) if index is not None]
            subset = subset + more
            look = attempt(subset)
            continue
        for place in range(len(subset)):
            index = draw()
            if index is None:
                break
            swapped = [*subset[:place], index, *subset[place + 1 :]]
            if options.replace == "printed":
                added, without = attempt([*subset, index]), attempt([*subset[:place], *subset[place + 1 :]])
                subset = swapped if added.loss < without.loss else subset
                continue
            other = attempt(swapped)
            if other.loss < look.loss:
                subset, look = swapped, other
        if options.replace == "printed":
            look = attempt(subset)
    if look.right and options.prune:
        for index in list(subset):
            fewer = [other for other in subset if other != index]
            if attempt(fewer).right:
                subset = fewer
    write(subset)
    return subset, look.right, step
