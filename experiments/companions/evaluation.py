"""Loss and accuracy of all lanes of a bank on their rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from experiments.companions.bank import Bank
from experiments.companions.data.pool import Part
from experiments.companions.networks import OPEN, Gate

CHUNK = 1000  # rows at a time
Moments = tuple[torch.Tensor, torch.Tensor]  # mean and variance (L, H) of hidden vectors


@dataclass(frozen=True)
class Measured:
    """Of every lane (L,): the loss as it is trained on, over all rows, and the share that is right."""

    loss: torch.Tensor
    accuracy: torch.Tensor


def evaluate(bank: Bank, parts: list[Part]) -> Measured:
    """Measure every lane on its rows, without dropout and noise."""
    outputs, targets = outputs_of(bank, parts), torch.stack([bank.pool.targets[part.rows] for part in parts])
    loss = bank.trainings[0].loss
    pairs = list(zip(outputs, targets, strict=True))
    return Measured(
        torch.stack([loss.total(each, wanted) for each, wanted in pairs]),
        torch.stack([loss.right(each, wanted).float().mean() for each, wanted in pairs]),
    )


def outputs_of(bank: Bank, parts: list[Part]) -> torch.Tensor:
    """Give every lane's outputs (L, N, K) for its rows."""
    size = bank.trainings[0].batch_statistics if bank.normalized else 0
    moments = moments_of(bank) if bank.normalized and not size else None
    with torch.no_grad():
        found = [_answered(bank, x, moments) for x in chunks(bank, parts, size or CHUNK)]
    return torch.cat(found, 1)


def moments_of(bank: Bank) -> Moments:
    """Give the moments before batch normalization over the training rows: what torch's running averages approach."""
    with torch.no_grad():
        plain = [
            bank.mapped(lambda own, few: bank.call(own, few).plain, bank.parameters, x)
            for x in chunks(bank, bank.train, CHUNK)
        ]
    whole = torch.cat(plain, 1)
    return whole.mean(1), whole.var(1, correction=0)


def chunks(bank: Bank, parts: list[Part], size: int) -> Iterator[torch.Tensor]:
    """Go through the lanes' inputs (L, B, ...), so many rows at a time."""
    for rows in zip(*(torch.split(part.rows, size) for part in parts), strict=True):
        yield torch.stack(
            [
                Part(few, part.shift, part.scale).inputs(bank.pool)
                for few, part in zip(rows, parts, strict=True)
            ]
        )


def _answered(bank: Bank, x: torch.Tensor, moments: Moments | None) -> torch.Tensor:
    def answer(own: dict[str, torch.Tensor], few: torch.Tensor, *known: torch.Tensor) -> torch.Tensor:
        return bank.call(own, few, Gate(moments=(known[0], known[1])) if known else OPEN).outputs

    return torch.as_tensor(bank.mapped(answer, bank.parameters, x, *(moments or ())))
