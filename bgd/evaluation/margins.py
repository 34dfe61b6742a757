"""An evaluation that also says by how much each image's label leads."""

from dataclasses import dataclass
from typing import Self

import torch

from bgd.evaluation.full import Evaluation


@dataclass(frozen=True, eq=False)
class MarginEvaluation(Evaluation):
    """What a network says of each image, and how clearly.

    Attributes:
        margins: The label's logit less the largest other one, float64 (N,); below 0 where the image is wrong.
    """

    margins: torch.Tensor

    @classmethod
    def of(cls, logits: torch.Tensor, labels: torch.Tensor) -> Self:
        """Return the evaluation of logits (N, C); there is no margin, NaN, where one of them is not finite."""
        plain = Evaluation.of(logits, labels)
        own = labels[:, None]
        rivals = logits.scatter(1, own, -torch.inf).amax(1)
        margins = logits.gather(1, own)[:, 0].double() - rivals.double()
        margins[plain.predictions < 0] = torch.nan
        return cls(plain.losses, plain.predictions, margins)
