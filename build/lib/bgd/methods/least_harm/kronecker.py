"""Expected harm by Kronecker-factored curvature: a statistic that knows which changes go together."""

from copy import copy
from dataclasses import dataclass, field

import torch

from bgd.curvature.base import Curvature, CurvatureError
from bgd.curvature.kfac import KFAC
from bgd.curvature.kronecker import Block, KroneckerCurvature
from bgd.methods.base import Trial
from bgd.methods.least_harm.harm import FLOOR, Cost, Harm, Model, drift
from bgd.methods.least_harm.tail import Support, Tail


@dataclass(frozen=True)
class Kronecker:
    """Knows KFAC's two matrices a layer: harm is the quadratic form of H = A (x) G within a layer and 0 between layers.

    Attributes:
        estimator: Of the curvature. By default from one drawn label an image.
    """

    estimator: KFAC = field(default_factory=lambda: KFAC(images=6000, draws=1))

    def harm(self, trial: Trial, tail: Tail, weights: list[torch.Tensor]) -> Harm:
        """Return the harm of changes; see `HarmModel.harm`."""

        def make() -> KroneckerHarm:
            return self.of(trial.curvature(self.estimator), tail)

        return self.harm_of(trial.kept(f"least harm {self} of {tail.size}", make), trial, tail)

    def harm_of(self, kept: "KroneckerHarm", trial: Trial, tail: Tail) -> Harm:
        """Return harm, of what earlier corrections have added up to as well."""
        return kept.after(drift(trial, tail))

    def of(self, curvature: Curvature, tail: Tail) -> "KroneckerHarm":
        """Return the harm of a curvature.

        Raises:
            CurvatureError: It has no factors of a layer of the tail, such as of one that is compiled by itself.
        """
        assert isinstance(curvature, KroneckerCurvature), "it is KFAC's"
        every = {block.weight: block for block in curvature.blocks}
        weights = [layer.tensors[0] for layer in tail.layers]
        if missing := [name for name in weights if name not in every]:
            raise CurvatureError(
                f"there are no Kronecker factors of {', '.join(missing)}: no plain linear layer in N0"
            )
        return KroneckerHarm(tail, [every[name] for name in weights])


class KroneckerHarm:
    """(D + d)'H(D + d) / 2 with a block A (x) G a layer, and D what earlier changes have added up to.

    H has a little of its mean diagonal everywhere, so that nothing is free.
    """

    def __init__(self, tail: Tail, blocks: list[Block]) -> None:
        """Take the blocks; no earlier change."""
        self.tail = tail
        self.blocks = blocks
        self._drift: torch.Tensor | None = None
        diagonal = tail.pack([torch.outer(b.outputs.diagonal(), _with_bias(b).diagonal()) for b in blocks])
        self.ridge = FLOOR * float(diagonal.mean()) or 1.0
        self.diagonal = diagonal + self.ridge

    def after(self, drift: torch.Tensor | None) -> "KroneckerHarm":
        """Return the same with D (P,), None for no earlier change."""
        harm = copy(self)
        harm._drift = drift
        return harm

    def cost(self, support: Support, change: torch.Tensor) -> Cost:
        """Return the harm of a change (k,) of a support's parameters, with the earlier ones."""
        if self._drift is None:
            return Cost(0.5 * float(change.double() @ self.times(support, change)[support.indices].double()))
        whole = self._whole(support, change)
        return Cost(0.5 * float(whole.double() @ self.multiply(whole).double()))

    def times(self, support: Support, change: torch.Tensor) -> torch.Tensor:
        """Return H d (P,) for a change (k,) of a support's parameters."""
        return self.multiply(self._placed(support, change))

    def _placed(self, support: Support, change: torch.Tensor) -> torch.Tensor:
        vector = torch.zeros_like(self.diagonal)
        vector[support.indices] = change.to(vector.dtype)
        return vector

    def _whole(self, support: Support, change: torch.Tensor) -> torch.Tensor:
        own = self._placed(support, change)
        return own if self._drift is None else self._drift + own

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return H v (P,) for a vector (P,)."""
        pairs = zip(self.blocks, self.tail.unpack(vector), strict=True)
        return self.tail.pack([b.outputs @ v @ _with_bias(b) for b, v in pairs]) + self.ridge * vector

    def model(self, support: Support, change: torch.Tensor) -> Model:
        """Return harm near a change."""
        return _KroneckerModel(self, self.multiply(self._whole(support, change)))


def _with_bias(block: Block) -> torch.Tensor:
    """Return A with a row and a column for a bias, of zeros where the layer has none."""
    return block.inputs if block.bias is not None else torch.nn.functional.pad(block.inputs, (0, 1, 0, 1))


@dataclass(frozen=True, eq=False)
class _KroneckerModel:
    _harm: KroneckerHarm
    _gradient: torch.Tensor

    def gradient(self) -> torch.Tensor:
        return self._gradient

    def diagonal(self) -> torch.Tensor:
        return self._harm.diagonal

    def columns(self, support: Support) -> torch.Tensor:
        rows = self._gradient.new_empty(len(support), len(self._gradient))
        for row, change in zip(rows, torch.eye(len(support), device=rows.device), strict=True):
            row.copy_(self._harm.times(support, change))
        return rows

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        return self._harm.multiply(vector)

    def on(self, support: Support) -> tuple[torch.Tensor, torch.Tensor]:
        one = torch.eye(len(support), dtype=torch.float64, device=self._gradient.device)
        matrix = self._harm.ridge * one
        for place, part in support.parts.items():
            block, rows = self._harm.blocks[place], part.rows[part.to]
            inputs = _with_bias(block)[part.columns[:, None], part.columns]
            own = block.outputs[rows[:, None], rows] * inputs
            matrix[part.which[:, None], part.which] += own.double()
        return self._gradient[support.indices].double(), matrix
