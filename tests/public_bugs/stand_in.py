"""A stand-in for a package: a tiny classifier, its mistakes, and a call of its own."""

from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from experiments.public_bugs.subject import Inputs, Mistake, NotCarriedError
from experiments.records.public_bugs import Job

CLASSES, WIDTH = 4, 6


class Package:
    """Its network is two layers; `depth=1` is one of which only the last layer is known."""

    package = "stand-in"

    def __init__(self, depth=2, refuses=False):
        torch.manual_seed(0)
        before = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES).eval()
        self.whole = nn.Sequential(before, nn.ReLU(), self.head).eval() if depth > 1 else None
        self._before = self.whole[:2] if self.whole is not None else nn.Identity()
        self._refuses = refuses
        self.made = []

    def features(self, x):
        with torch.no_grad():
            return self._before(x)

    def inputs(self, split, count):
        self.made.append(split)
        x = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(len(split)))
        truth = self._classes(x)
        return Inputs(x, lambda classes: classes == truth, f"{count} numbers")

    def mistakes(self, report, split, count):
        x = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(7))
        label = None if report == "no class" else 0
        wrong = [each for each in x.split(1) if int(self._classes(each)) != 0]
        return [Mistake(each, each, label, "0".__eq__) for each in wrong]

    @contextmanager
    def saying(self, patch=None, of=None):
        if patch is not None and self._refuses:
            raise NotCarriedError("another's weights")
        with patch.applied(of) if patch is not None else nullcontext():
            yield lambda x: str(int(self._classes(x)))

    def _classes(self, x):
        return self.head(self.features(x)).argmax(1)


def job(method="last_layer_weight", report="some", **other):
    given = {
        "options": "{}",
        "split": "held_out",
        "mistakes": 6,
        "keep": 50,
        "inputs": 40,
        "seed": 0,
        **other,
    }
    return Job("stand-in", report, "1.0", "0" * 64, method, **given)
