"""Slow, obvious statements of what the fast code must equal."""

import copy

import torch
import torch.nn.functional as F


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
