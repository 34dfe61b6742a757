"""How far a chosen parameter moves: the update rules (sections 2.1, 3.3 and 4.5.1)."""

from dataclasses import dataclass
from typing import Protocol

import torch

FORMS = ("diagonal", "subset_norm", "full_norm")


class Update(Protocol):
    """Gives the change of each parameter of a subset."""

    @property
    def elementwise(self) -> bool:
        """Whether a parameter's change is the same in every subset."""
        ...

    def change(self, gradient: torch.Tensor, subset: torch.Tensor) -> torch.Tensor:
        """Return the change (k,) of the parameters at `subset` (k,), from the whole gradient (|W|,)."""
        ...


@dataclass(frozen=True)
class FirstOrder:
    """-step * g_j (Eq. 2.2): BGD-I.

    Attributes:
        step: Learning rate. The thesis states none; the released code has 0.01.
    """

    step: float = 0.01

    def __post_init__(self) -> None:
        if self.step <= 0:
            raise ValueError(f"step={self.step}: must be above 0")

    @property
    def elementwise(self) -> bool:
        """Always."""
        return True

    def change(self, gradient: torch.Tensor, subset: torch.Tensor) -> torch.Tensor:
        """Return -step * g."""
        return -self.step * gradient[subset]


@dataclass(frozen=True)
class SecondOrder:
    """-H^-1 g with the empirical Fisher of the one sample in place of H (Eq. 2.1): BGD-II.

    The Fisher of one sample is g g^T, which has rank 1 and no inverse; three readings make it one.

    Attributes:
        form: `diagonal`: -g_j / g_j^2 = -1 / g_j (the released code, and what reproduces the thesis);
            `subset_norm`: -g_j / ||g_subset||^2, the pseudo-inverse over the subset;
            `full_norm`: -g_j / ||g||^2, the pseudo-inverse over all parameters.
    """

    # DEVIATION D3: the thesis prints -g / (g g^T) and does not say which entries of the product are meant.
    form: str = "diagonal"

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"form={self.form!r}: must be one of {', '.join(FORMS)}")

    @property
    def elementwise(self) -> bool:
        """Not where the subset's norm counts."""
        return self.form != "subset_norm"

    def change(self, gradient: torch.Tensor, subset: torch.Tensor) -> torch.Tensor:
        """Return the change; 0 where the gradient is 0 or so small that its inverse overflows: no direction."""
        chosen = gradient[subset]
        if self.form == "diagonal":
            change = -1.0 / chosen
            return torch.where(torch.isfinite(change), change, torch.zeros_like(change))
        squared = (chosen if self.form == "subset_norm" else gradient).square().sum()
        return -chosen / squared if squared > 0 else torch.zeros_like(chosen)
