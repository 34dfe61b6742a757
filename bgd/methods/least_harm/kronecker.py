"""Expected harm by Kronecker-factored curvature: a statistic that knows which changes go together."""

from copy import copy
from dataclasses import dataclass, field
from functools import cached_property

import torch

from bgd.curvature.base import Curvature, CurvatureError
from bgd.curvature.kfac import KFAC
from bgd.curvature.kronecker import Block, KroneckerCurvature
from bgd.methods.base import Trial
from bgd.methods.least_harm.harm import FLOOR, INFINITE, Cost, Harm, Model, drift
from bgd.methods.least_harm.tail import Support, Tail

HELD = 512  # parameters up to which their part of H is made


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
        self._last: tuple[Support | None, torch.Tensor] = (
            None,
            torch.empty(0),
        )  # many costs are of one support
        diagonal = tail.pack([torch.outer(b.outputs.diagonal(), _with_bias(b).diagonal()) for b in blocks])
        self.ridge = FLOOR * float(diagonal.mean()) or 1.0
        self.diagonal = diagonal + self.ridge

    def after(self, drift: torch.Tensor | None) -> "KroneckerHarm":
        """Return the same with D (P,), None for no earlier change."""
        harm = copy(self)
        harm._drift = drift
        for made in ("_pull", "_before"):
            harm.__dict__.pop(made, None)
        return harm

    def cost(self, support: Support, change: torch.Tensor, most: float = INFINITE) -> Cost:
        """Return the harm of a change (k,) of a support's parameters, with the earlier ones."""
        own = change.double()
        value = 0.5 * self._quadratic(support, own)
        if self._drift is not None:
            value += self._before + float(own @ self._pull[support.indices].double())
        return Cost(value)

    def _quadratic(self, support: Support, change: torch.Tensor) -> float:
        """Return d'Hd for a change (k,) of a support's parameters, float64."""
        if len(support) <= HELD:
            return float(change @ (self.among(support) @ change))
        placed = torch.zeros_like(self.diagonal, dtype=torch.float64)
        placed[support.indices] = change
        parts = zip(self._factors, self.tail.unpack(placed), strict=True)
        within = sum(float((v * (outputs @ v @ inputs)).sum()) for (outputs, inputs), v in parts)
        return within + self.ridge * float(change @ change)

    @cached_property
    def _factors(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each layer's two matrices, float64."""
        return [
            (block.outputs.double(), into.double())
            for block, into in zip(self.blocks, self._inputs, strict=True)
        ]

    @cached_property
    def _pull(self) -> torch.Tensor:
        """H D (P,)."""
        assert self._drift is not None
        return self.multiply(self._drift)

    @cached_property
    def _before(self) -> float:
        """D'HD / 2."""
        assert self._drift is not None
        return 0.5 * float(self._drift.double() @ self._pull.double())

    def among(self, support: Support) -> torch.Tensor:
        """Return H of a support's parameters alone (k, k), float64: 0 between layers."""
        if support is self._last[0]:
            return self._last[1].clone()
        matrix = self.ridge * torch.eye(len(support), dtype=torch.float64, device=self.diagonal.device)
        for place, part in support.parts.items():
            block, rows = self.blocks[place], part.rows[part.to]
            inputs = self._inputs[place][part.columns[:, None], part.columns]
            matrix[part.which[:, None], part.which] += (block.outputs[rows[:, None], rows] * inputs).double()
        self._last = support, matrix.clone()
        return matrix

    @cached_property
    def _inputs(self) -> list[torch.Tensor]:
        return [_with_bias(block) for block in self.blocks]

    def columns(self, support: Support) -> torch.Tensor:
        """Return the rows of H of a support's parameters (k, P)."""
        parts = []
        for place, block in enumerate(self.blocks):
            here = (support.layer == place).to(block.outputs.dtype)
            unit, column = support.unit * (support.layer == place), support.column * (support.layer == place)
            outputs = block.outputs[unit] * here[:, None]
            parts.append(outputs[:, :, None] * self._inputs[place][column][:, None])
        rows: torch.Tensor = self.tail.pack(parts)
        rows[torch.arange(len(support)), support.indices] += self.ridge
        return rows

    def _placed(self, support: Support, change: torch.Tensor) -> torch.Tensor:
        vector = torch.zeros_like(self.diagonal)
        vector[support.indices] = change.to(vector.dtype)
        return vector

    def whole(self, support: Support, change: torch.Tensor) -> torch.Tensor:
        """Return D + d (P,) for a change (k,) of a support's parameters."""
        own = self._placed(support, change)
        return own if self._drift is None else self._drift + own

    def slope(self, support: Support, moved: torch.Tensor) -> torch.Tensor:
        """Return H (D + d) on a support (k,), given H d there."""
        return moved if self._drift is None else moved + self._pull[support.indices].double()

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return H v (P,) for a vector (P,)."""
        pairs = zip(self.blocks, self._inputs, self.tail.unpack(vector), strict=True)
        return self.tail.pack([b.outputs @ v @ into for b, into, v in pairs]) + self.ridge * vector

    def model(self, support: Support, change: torch.Tensor) -> Model:
        """Return harm near a change."""
        return _KroneckerModel(self, support, change)


def _with_bias(block: Block) -> torch.Tensor:
    """Return A with a row and a column for a bias, of zeros where the layer has none."""
    return block.inputs if block.bias is not None else torch.nn.functional.pad(block.inputs, (0, 1, 0, 1))


@dataclass(frozen=True, eq=False)
class _KroneckerModel:
    """Harm near a change (k,) of a support's parameters."""

    _harm: KroneckerHarm
    _support: Support
    _change: torch.Tensor

    def gradient(self) -> torch.Tensor:
        return self._harm.multiply(self._harm.whole(self._support, self._change))

    def diagonal(self) -> torch.Tensor:
        return self._harm.diagonal

    def columns(self, support: Support) -> torch.Tensor:
        return self._harm.columns(support)

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        return self._harm.multiply(vector)

    def on(self, support: Support) -> tuple[torch.Tensor, torch.Tensor]:
        matrix = self._harm.among(support)
        if support is self._support:
            return self._harm.slope(support, matrix @ self._change.double()), matrix
        return self.gradient()[support.indices].double(), matrix
