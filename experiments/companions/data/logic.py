"""XOR, and XORD: five pairs of signs, of which exactly one disagrees, or none."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bgd.rng import stream
from experiments.companions.data.pool import Part, Pool, Split, indices

PAIRS = 5
Signs = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Xor:
    """The four inputs with targets -1 and 1; nothing to test on, so that it is tested on itself."""

    def pool(self, root: Path) -> Pool:
        """See `Task.pool`."""
        inputs = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
        return Pool(inputs, torch.tensor([[-1.0], [1.0], [1.0], [-1.0]]))

    def split(self, pool: Pool, seed: int) -> Split:
        """See `Task.split`: the same for each seed."""
        return Split(Part(torch.arange(4)), Part(torch.arange(4)))


@dataclass(frozen=True)
class Xord:
    """Ten signs in five pairs; the target is 1 where one pair disagrees, -1 where none does.

    There are 32 negatives and 160 positives with one disagreeing pair. Half of the rows are positive, and no row of the
    test set is one of the training set.

    Attributes:
        train, test: Rows.
    """

    train: int = 12
    test: int = 10

    def pool(self, root: Path) -> Pool:
        """See `Task.pool`: the negatives first."""
        agreeing = np.repeat(np.array(list(product((-1.0, 1.0), repeat=PAIRS))), 2, axis=1)
        positives = [_turned(row, pair) for row in agreeing for pair in range(PAIRS)]
        inputs = np.concatenate([agreeing, positives]).astype(np.float32)
        targets = np.where(np.arange(len(inputs)) < len(agreeing), -1.0, 1.0).astype(np.float32)
        return Pool(torch.from_numpy(inputs), torch.from_numpy(targets[:, None]))

    def split(self, pool: Pool, seed: int) -> Split:
        """See `Task.split`: drawn without replacement."""
        draws = stream(seed, "companions", "xord")
        negatives, total = 2**PAIRS, len(pool.inputs)
        few = draws.permutation(negatives)[: (self.train + self.test) // 2]
        many = negatives + draws.permutation(total - negatives)[: (self.train + self.test) // 2]
        half = self.train // 2
        return Split(Part(indices([*few[:half], *many[:half]])), Part(indices([*few[half:], *many[half:]])))


def _turned(row: Signs, pair: int) -> Signs:
    """Turn the second sign of a pair; agreeing pairs of either sign give both ways to disagree."""
    other = row.copy()
    other[2 * pair + 1] *= -1
    return other
