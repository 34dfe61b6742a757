"""MNIST in the ways that the studies take it, and CIFAR-10 where a user has it."""

import pickle
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from bgd.errors import ConfigError
from bgd.rng import stream
from experiments.companions.data.pool import Part, Pool, Split, indices
from experiments.mnist import data as mnist

CROP = 10  # pixels, of the check of eigenvalues
CIFAR = "cifar-10-batches-py"


@lru_cache(maxsize=2)
def _digits(name: str, root: Path) -> Pool:
    """Give all images of a data set (N, 1, 28, 28), its training images first."""
    train, test = mnist.read(name, root)
    images = np.concatenate([train.images, test.images])[:, None]
    labels = np.concatenate([train.labels, test.labels]).astype(np.int64)
    return Pool(torch.from_numpy(images), torch.from_numpy(labels), len(train))


@dataclass(frozen=True)
class Digits:
    """A subset of MNIST's training images, another for each seed, and images to test on.

    Attributes:
        dataset: Its name, see `experiments.mnist.data.SOURCES`.
        train: How many; 0 for all.
        balanced: Whether there are as many of each class.
        test: Which: MNIST's test images, or the last sixth of the training images, as the author's code has it.
        most: Test images at most, the first ones; 0 for all.
        standardize: By mean and deviation over all pixels of the training subset, or of each set by its own, or not.
        classes: The first so many; others are left out.
        crop: Whether only the centre, of `CROP` x `CROP` pixels.
        same: Whether each seed has the same subset.
    """

    dataset: str = "mnist"
    train: int = 2000
    balanced: bool = False
    test: Literal["test", "last_of_train"] = "test"
    most: int = 0
    standardize: Literal["train", "each", "none"] = "train"
    classes: int = 10
    crop: bool = False
    same: bool = False

    def pool(self, root: Path) -> Pool:
        """See `Task.pool`."""
        whole = _digits(self.dataset, root)
        if not self.crop:
            return whole
        edge = (whole.inputs.shape[-1] - CROP) // 2
        return replace(whole, inputs=whole.inputs[..., edge : edge + CROP, edge : edge + CROP])

    def split(self, pool: Pool, seed: int) -> Split:
        """See `Task.split`."""
        last = pool.training
        first = last * 5 // 6 if self.test == "last_of_train" else last
        tested = torch.arange(first, last if self.test == "last_of_train" else len(pool.targets))
        tested = tested[pool.targets[tested] < self.classes]
        return self._standardized(pool, self._drawn(pool, first, seed), tested[: self.most or None])

    def _drawn(self, pool: Pool, first: int, seed: int) -> torch.Tensor:
        draws = stream(0 if self.same else seed, "companions", "digits")
        order = indices(draws.permutation(first))
        order = order[pool.targets[order] < self.classes]
        count = self.train or len(order)
        if count > len(order):
            raise ConfigError(f"data.train={count}: there are {len(order)} training images")
        if not self.balanced:
            return order[:count]
        each = count // self.classes
        own = [order[pool.targets[order] == label][:each] for label in range(self.classes)]
        return torch.cat(own)

    def _standardized(self, pool: Pool, train: torch.Tensor, test: torch.Tensor) -> Split:
        if self.standardize == "none":
            return Split(Part(train), Part(test))
        shift, scale = _moments(pool, train)
        own = (shift, scale) if self.standardize == "train" else _moments(pool, test)
        return Split(Part(train, shift, scale), Part(test, *own))


def _moments(pool: Pool, rows: torch.Tensor) -> tuple[float, float]:
    pixels = pool.take(rows).double()
    return float(pixels.mean()), float(pixels.std(correction=0))


@dataclass(frozen=True)
class Cifar:
    """CIFAR-10 in [0, 1], from the files of its python version.

    Attributes:
        train: Training images, the first ones of the five batches; 0 for all.
        most: Test images at most, the first ones; 0 for all.
    """

    train: int = 0
    most: int = 0

    def pool(self, root: Path) -> Pool:
        """See `Task.pool`.

        Raises:
            ConfigError: The files are not there.
        """
        folder = root / CIFAR
        names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            raise ConfigError(
                f"CIFAR-10 is not in {folder}: {missing[0]} is missing; unpack cifar-10-python.tar.gz there"
            )
        batches = [_batch(folder / name) for name in names]
        images = np.concatenate([images for images, _ in batches])
        labels = np.concatenate([labels for _, labels in batches])
        return Pool(torch.from_numpy(images), torch.from_numpy(labels), len(labels) * 5 // 6)

    def split(self, pool: Pool, seed: int) -> Split:
        """See `Task.split`: the last sixth of the images is the test batch."""
        last = pool.training
        rows = torch.arange(len(pool.targets))
        return Split(Part(rows[: self.train or last]), Part(rows[last:][: self.most or None]))


def _batch(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    with path.open("rb") as file:
        content = _Arrays(file, encoding="bytes").load()
    images = np.asarray(content[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
    return images, np.asarray(content[b"labels"], dtype=np.int64)


class _Arrays(pickle.Unpickler):
    """Unpickles numpy arrays and plain containers, nothing else."""

    _ALLOWED = frozenset(
        {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
        | {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise ConfigError(f"refusing to unpickle {module}.{name}: only numpy arrays are expected")
        return super().find_class(module, name)
