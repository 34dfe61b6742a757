"""A classifier of a package as a subject: its network, inputs, reported errors, and its own public call."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from bgd import Goal, Patch

BATCH = 500
SPLITS = ("keep", "aside", "held_out")  # a keep-set, what options are chosen on, what is reported

Say = Callable[[Any], str]  # the package's own answer to a raw input
Right = Callable[[torch.Tensor], torch.Tensor]  # which of some classes (N,) are right (N,)


class NotCarriedError(ValueError):
    """A patch of the network here is none of the package's own weights."""


@dataclass(frozen=True)
class Source:
    """Where a subject's data come from.

    Attributes:
        data: Folder with data sets and packages.
        seed: Of everything that is generated or drawn.
    """

    data: Path
    seed: int = 0

    @property
    def features(self) -> Path:
        """A folder for features that ONNX Runtime has computed."""
        return self.data / "features"


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs of one split.

    Attributes:
        x: As `Subject.features` takes them (N, ...).
        right: Tells of classes (N,) which are right (N,); None where no truth is known.
        kinds: How many there are of each kind, in words.
    """

    x: torch.Tensor
    right: Right | None = None
    kinds: str = ""

    def __len__(self) -> int:
        """Number of inputs."""
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Mistake:
    """An input that a package gets wrong.

    Attributes:
        raw: The input as the package's own call takes it.
        x: As `Subject.features` takes it (1, ...).
        label: The right class; None where the network has no such class.
        goal: What the network has to reach.
        wanted: Accepted answers of the package's own call.
    """

    raw: Any
    x: torch.Tensor
    label: int | None
    wanted: Callable[[str], bool]
    goal: Goal = field(default_factory=Goal)


class Subject(Protocol):
    """A package's classifier.

    Attributes:
        package: Name in pins.yaml.
        head: Its last layer: logits (N, C) of features (N, D).
        whole: The network, of which `head` is a part, in eval mode; None where there is no source of it, or no more.
    """

    package: str

    @property
    def head(self) -> nn.Module: ...  # noqa: D102

    @property
    def whole(self) -> nn.Module | None: ...  # noqa: D102

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the input of the last layer (N, D)."""
        ...

    def inputs(self, split: str, count: int) -> Inputs:
        """Make or gather inputs of a split, at most `count`."""
        ...

    def mistakes(self, report: str, split: str, count: int) -> Sequence[Mistake]:
        """Find inputs of a report that the package's own call gets wrong, at most `count`."""
        ...

    def saying(self, patch: Patch | None = None, of: nn.Module | None = None) -> AbstractContextManager[Say]:
        """Give the package's own public call, its weights changed by a patch of `head` or `whole`."""
        ...


def run(network: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Run a network in batches, without gradients."""
    with torch.no_grad():
        return torch.cat([network(part) for part in torch.split(x, BATCH)])
