"""digit-recognizer-py: handwritten digits; every image of MNIST's test set that it gets wrong."""

import copy
import importlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from bgd import Patch
from experiments.mnist.data import read
from experiments.public_bugs.subject import Inputs, Mistake, Say, Source, run

ASIDE = 30_000  # the training images from here on are for choosing options, those before for the keep-set


class Digits:
    """The package's network; MNIST's test set, and its training set, which the network may have learnt, as keep-set."""

    package = "digit-recognizer-py"

    def __init__(self, source: Source) -> None:
        self._library: Any = importlib.import_module("digit_recognizer")
        self._recognizer = self._library.DigitRecognizer(device="cpu")
        whole = copy.deepcopy(self._recognizer.model).requires_grad_(True)  # it comes frozen
        self.whole: nn.Module = whole
        self.head: nn.Module = whole.fc_layers[-1]
        self._before = nn.Sequential(whole.conv_layers, nn.Flatten(), *whole.fc_layers[:-1])
        train, test = read("mnist", source.data)
        self._splits = {
            "keep": (train.images[:ASIDE], train.labels[:ASIDE]),
            "aside": (train.images[ASIDE:], train.labels[ASIDE:]),
            "held_out": (test.images, test.labels),
        }

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network up to its last layer."""
        return run(self._before, x)

    def inputs(self, split: str, count: int) -> Inputs:
        """Take the first images of a split; those that are no keep-set have to be right."""
        images, labels = (part[:count] for part in self._splits[split])
        x, truth = self._prepared(images), torch.tensor(labels.astype(np.int64))
        if split != "keep":
            right = run(self.whole, x).argmax(1) == truth
            x, truth = x[right], truth[right]
        return Inputs(x, lambda classes: classes == truth, f"{len(x)} images of MNIST")

    def mistakes(self, report: str, split: str, count: int) -> Sequence[Mistake]:
        """Take the images that are wrong."""
        images, labels = self._splits[split]
        x = self._prepared(images)
        wrong = np.flatnonzero(run(self.whole, x).argmax(1).numpy() != labels)[:count].tolist()
        return [Mistake(images[at], x[at : at + 1], int(labels[at]), str(labels[at]).__eq__) for at in wrong]

    @contextmanager
    def saying(self, patch: Patch | None = None, of: nn.Module | None = None) -> Iterator[Say]:
        """Give a `DigitRecognizer` of patched weights, written to a file of its own."""
        with tempfile.TemporaryDirectory() as folder:
            recognizer = self._recognizer
            if patch is not None and of is not None:
                path = Path(folder) / "patched.pth"
                with patch.applied(of):
                    torch.save(self.whole.state_dict(), path)
                recognizer = self._library.DigitRecognizer(model_path=path, device="cpu")
            yield lambda image: str(recognizer.predict(Image.fromarray(image)))

    def _prepared(self, images: np.ndarray[Any, np.dtype[np.uint8]]) -> torch.Tensor:
        """Prepare images (N, 28, 28) as the package does."""
        return torch.cat([self._recognizer.preprocess(Image.fromarray(image)) for image in images])
