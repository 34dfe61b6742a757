"""What may be known of a network beyond its parameters and the sample: nothing, a statistic, images, the training data.

The level is part of a method's yaml (`knows`) and is held to: what lies above it is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from bgd.curvature.base import Curvature, Estimator
from bgd.errors import ConfigError, nearest

LEVELS = ("nothing", "statistic", "keep_set", "training_data")  # each with what the ones before it have


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What a method may ask for, made when it does.

    Attributes:
        mean_gradient: Gives the gradient of the loss of N0, averaged over D (|W|,): a statistic.
        curvature: Gives the curvature of N0's loss over D by an estimator, made once and kept: a statistic.
        keep_images: Gives unlabelled images (N, ...) that N0 was not trained on: a keep-set.
        training: Gives the images (M, ...) and labels (M,) of D.
        level: The highest of `LEVELS` that is not refused.
    """

    mean_gradient: Callable[[], torch.Tensor] | None = None
    curvature: Callable[[Estimator], Curvature] | None = None
    keep_images: Callable[[], torch.Tensor] | None = None
    training: Callable[[], tuple[torch.Tensor, torch.Tensor]] | None = None
    level: str = LEVELS[-1]

    def __post_init__(self) -> None:
        check_level(self.level)

    def restricted(self, level: str) -> "Knowledge":
        """Return the same, with everything above a level refused."""
        return replace(self, level=level)

    def ask(self, name: str, level: str, what: str) -> Callable[..., Any]:
        """Return the function that gives a piece of knowledge.

        Args:
            name: Of the attribute.
            level: That the piece belongs to.
            what: The piece in words.

        Raises:
            LookupError: It is above what may be known, or is not there.
        """
        if LEVELS.index(level) > LEVELS.index(self.level):
            raise LookupError(
                f"the method needs {what}, and knows={self.level!r} rules that out: {level!r} would not"
            )
        given: Callable[..., Any] | None = getattr(self, name)
        if given is None:
            raise LookupError(f"the method needs {what}, and the problem was posed without it")
        return given


def check_level(level: Any, where: str = "knows") -> str:
    """Return a level that is one.

    Raises:
        ConfigError: It is none of `LEVELS`.
    """
    if level not in LEVELS:
        raise ConfigError(f"{where}={level!r}: no such level of knowledge; {nearest(str(level), LEVELS)}")
    return str(level)
