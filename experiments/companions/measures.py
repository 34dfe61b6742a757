"""What is measured of a lane at its end, beside loss, accuracy and norm."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bgd.rng import stream
from experiments.companions.bank import Bank
from experiments.companions.corrections import correct
from experiments.companions.curvature import Hessian, LossOf, dense
from experiments.companions.networks import Gate
from experiments.companions.noise import kept
from experiments.companions.train import Trained

ROWS = 2000  # of the training set at most, that a Hessian is of


@dataclass(frozen=True)
class Found:
    """Numbers, and lists of them, by name."""

    values: Mapping[str, float] = field(default_factory=dict)
    vectors: Mapping[str, list[float]] = field(default_factory=dict)


def loss_on_training(bank: Bank, rows: int = ROWS) -> LossOf:
    """Give a lane's loss on its first training rows as a function of its parameters."""
    part, training = bank.train[0], bank.trainings[0]
    x, y = part.inputs(bank.pool)[:rows], bank.pool.targets[part.rows][:rows]
    return lambda parameters: training.loss.total(bank.call(parameters, x).outputs, y)


def eigenvalues(trained: Trained, bank: Bank, count: int) -> Found:
    """Measure the largest eigenvalues of the Hessian on the training set, at the start and at the end, by Lanczos."""
    loss, found = loss_on_training(bank), {}
    if not math.isfinite(float(loss(trained.parameters))):
        return Found()  # the run diverged: there is no curvature
    for when, parameters in (("start", trained.start), ("end", trained.parameters)):
        draws = stream(trained.training.seed, "companions", "eigenvalues")
        found[f"eigenvalues_{when}"] = list(Hessian(loss, parameters).largest(count, draws))
    return Found({"eigenvalue": found["eigenvalues_end"][0]}, found)


def spectrum(trained: Trained, bank: Bank, count: int) -> Found:
    """Compare Lanczos and the power method with the dense Hessian, in float64: figure 5.2 of the dissertation."""
    double = {name: value.double() for name, value in trained.parameters.items()}
    part, training = bank.train[0], bank.trainings[0]
    x, y = part.inputs(bank.pool)[:ROWS].double(), bank.pool.targets[part.rows][:ROWS]

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return training.loss.total(bank.call(parameters, x).outputs, y)

    hessian = Hessian(loss, double)
    whole = torch.linalg.eigvalsh(dense(loss, double)).tolist()
    exact = np.array(sorted(whole, key=abs, reverse=True)[:count])
    draws = stream(training.seed, "companions", "eigenvalues")
    ways = {"lanczos": hessian.largest(count, draws), "power": hessian.by_power(count, draws)}
    values = {f"{name}_distance": float(np.linalg.norm(found - exact)) for name, found in ways.items()}
    vectors = {"dense": exact.tolist(), **{name: found.tolist() for name, found in ways.items()}}
    return Found({**values, "parameters": float(hessian.size)}, vectors)


def first_weights(trained: Trained, bank: Bank, count: int) -> Found:
    """Keep the weights of the first layer and the head, for pictures of small networks."""
    names = [name for name, value in trained.parameters.items() if value.ndim > 1][:count]
    kept_ones = {f"weights_{number}": trained.parameters[name] for number, name in enumerate(names)}
    return Found({}, {name: value.flatten().tolist() for name, value in kept_ones.items()})


def dropout_left_on(trained: Trained, bank: Bank, count: int) -> Found:
    """Measure the test accuracy with hidden units dropped at half, as if evaluation had been in training mode."""
    part, draws = bank.test[0], stream(trained.training.seed, "companions", "left on")
    x, y = part.inputs(bank.pool), bank.pool.targets[part.rows]
    right = []
    with torch.no_grad():
        for _ in range(count):
            keep = torch.from_numpy(kept(draws, (len(x), bank.hidden), 0.5))
            outputs = bank.call(trained.parameters, x, Gate(keep)).outputs
            right.append(float((outputs.argmax(1) == y).float().mean()))
    return Found({"test_accuracy_dropout_on": float(np.mean(right))})


def corrections(trained: Trained, bank: Bank, count: int) -> Found:
    """Correct misclassified test samples of the trained network: what a correction costs here."""
    part, inner = bank.test[0], trained.training.model.build()
    inner.load_state_dict(trained.parameters)
    network = nn.Sequential(*inner.body.children(), inner.head).eval()
    x, y = part.inputs(bank.pool), bank.pool.targets[part.rows]
    return Found(correct(network, x, y, bank.train[0].inputs(bank.pool), count, trained.training.seed))


MEASURES: Mapping[str, Callable[[Trained, Bank, int], Found]] = {
    "eigenvalues": eigenvalues,
    "spectrum": spectrum,
    "first_weights": first_weights,
    "dropout_left_on": dropout_left_on,
    "corrections": corrections,
}


def measured(trained: Trained, root: Path, asked: Mapping[str, int]) -> Found:
    """Measure a lane in each way that is asked for."""
    if not asked:
        return Found()
    bank = Bank([trained.training], root)
    found = [MEASURES[name](trained, bank, count) for name, count in asked.items()]
    return Found(
        {key: value for each in found for key, value in each.values.items()},
        {key: value for each in found for key, value in each.vectors.items()},
    )
