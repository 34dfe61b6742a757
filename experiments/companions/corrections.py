"""What corrections of a trained network cost: misclassified samples, each from the network itself, and in a row."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from bgd import Correction, Corrector, Evaluator, Knowledge
from bgd.methods.base import Method
from bgd.methods.bgd.search import SubsetSearch
from experiments.companions.prior import MetricPrior

KEPT = 500  # training images, their labels not used, that least harm keeps
METHODS: Mapping[str, str | Method] = {
    "bgd_ii": "bgd_ii",
    "bgd_metric": SubsetSearch(prior=MetricPrior()),
    "top_k": "top_k",
    "least_harm": "least_harm",
}


@dataclass(frozen=True)
class Asked:
    """A network, its test images with labels, and the images that a method may know."""

    network: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    keep: torch.Tensor
    seed: int


def correct(
    network: nn.Module, x: torch.Tensor, y: torch.Tensor, keep: torch.Tensor, count: int, seed: int
) -> dict[str, float]:
    """Correct misclassified samples by each method.

    Args:
        network: In eval mode; gives logits.
        x: Test images.
        y: Their labels.
        keep: Images on which predictions should stay what they are.
        count: Samples at most, the first misclassified ones.
        seed: Of the methods.

    Returns:
        By "method.quantity": `poc`, the share that is corrected; over those `parameters`, the mean count, `popa` in %,
        `accuracy` and `worst`, the mean and the worst change of test accuracy in points; `survival`, the share that is
        right in bfloat16 too; `row_accuracy`, the change in points after all of them one after the other; beside these
        `errors`, the number of misclassified samples.
    """
    evaluator = Evaluator(network, x, y)
    wrong = (evaluator.base.predictions != y).nonzero().flatten()
    asked, found = Asked(network, x, y, keep[:KEPT], seed), {"errors": float(len(wrong))}
    for name, method in METHODS.items():
        for quantity, value in _by_method(asked, method, evaluator, wrong[:count]).items():
            found[f"{name}.{quantity}"] = value
    return found


def _by_method(
    asked: Asked, method: str | Method, evaluator: Evaluator, wrong: torch.Tensor
) -> dict[str, float]:
    knowledge = Knowledge.of(asked.network, keep=asked.keep)
    begun = partial(Corrector, asked.network, method, knowledge=knowledge, seed=asked.seed)
    corrector, size = begun(), sum(value.numel() for value in asked.network.parameters())
    samples = [(asked.x[place : place + 1], int(asked.y[place])) for place in wrong]
    pairs = [(sample, corrector.correct(*sample)) for sample in samples]
    done = [(sample, correction) for sample, correction in pairs if correction.patch is not None]
    counts = [len(correction.patch or ()) for _, correction in done]
    changes = [_accuracy_change(evaluator, correction) for _, correction in done]
    return {
        "poc": len(done) / max(1, len(pairs)),
        "parameters": _mean(counts),
        "popa": 100 * _mean(counts) / size,
        "accuracy": _mean(changes),
        "worst": min(changes, default=np.nan),
        "survival": _mean([_survives(asked.network, x, y, correction) for (x, y), correction in done]),
        "row_accuracy": _in_a_row(begun(), samples, evaluator),
    }


def _mean(values: list[float] | list[int] | list[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _accuracy_change(evaluator: Evaluator, correction: Correction) -> float:
    """Give the change of test accuracy in points."""
    before, after = evaluator.base.predictions, evaluator.after(correction).predictions
    right = (after == evaluator.labels).float().mean() - (before == evaluator.labels).float().mean()
    return 100 * float(right)


def _survives(network: nn.Module, x: torch.Tensor, y: int, correction: Correction) -> bool:
    """Tell whether the corrected network is right in bfloat16."""
    patch = correction.patch
    assert patch is not None, "of a correction"
    with patch.applied(network):
        patched = copy.deepcopy(network).to(torch.bfloat16)
    with torch.no_grad():
        return int(patched(x.to(torch.bfloat16)).argmax()) == y


def _in_a_row(corrector: Corrector, samples: list[tuple[torch.Tensor, int]], evaluator: Evaluator) -> float:
    """Correct one sample after the other, each from the network that the ones before left."""
    for x, y in samples:
        found = corrector.correct(x, y)
        if found.patch is not None:
            corrector.accept(found)
    if corrector.patch is None:
        return 0.0
    after = evaluator.after(corrector.patch).predictions
    right = (after == evaluator.labels).float().mean()
    return 100 * float(right - (evaluator.base.predictions == evaluator.labels).float().mean())
