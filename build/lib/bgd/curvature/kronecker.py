"""Curvature made of a Kronecker product for each layer, and a diagonal for what is in none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bgd.curvature.base import CurvatureError, check_damping
from bgd.parameters import ParameterSpace

INPUTS, OUTPUTS, REST = "|inputs", "|outputs", "|rest"  # what follows a name where the curvature is kept


@dataclass(frozen=True, eq=False)
class Block:
    """A (x) G over the weight of a layer, as a matrix (m, n), and its bias as one more column: V -> G V A.

    Attributes:
        weight: Name of the weight.
        bias: Name of the bias; None where the layer has none.
        inputs: A, symmetric and positive semi-definite: (n + 1, n + 1), or (n, n) without a bias.
        outputs: G, symmetric and positive semi-definite (m, m).
    """

    weight: str
    bias: str | None
    inputs: torch.Tensor
    outputs: torch.Tensor

    def read(self, vector: torch.Tensor, space: ParameterSpace) -> torch.Tensor:
        """Return the layer's part of a vector (|W|,) as a matrix, the bias its last column."""
        matrix = vector[space.span(self.weight)].view(len(self.outputs), -1)
        if self.bias is None:
            return matrix
        return torch.cat([matrix, vector[space.span(self.bias), None]], dim=1)

    def write(self, matrix: torch.Tensor, vector: torch.Tensor, space: ParameterSpace) -> None:
        """Write such a matrix to the layer's part of a vector (|W|,)."""
        if self.bias is not None:
            vector[space.span(self.bias)] = matrix[:, -1]
            matrix = matrix[:, :-1]
        vector[space.span(self.weight)].view(len(self.outputs), -1).copy_(matrix)

    def damped(self, damping: float) -> "Damped | None":
        """Return the factors of the damped block; None where the block is zero, and damping all that there is of it.

        Raises:
            CurvatureError: `damping` is too small for the type of the numbers.
        """
        scales = [float(factor.diagonal().mean()) for factor in (self.inputs, self.outputs)]
        if not all(scales):
            return None
        ratio = math.sqrt(scales[0] / scales[1])
        shares = (ratio * math.sqrt(damping), math.sqrt(damping) / ratio)
        return Damped(
            *(self._cholesky(f, x, damping) for f, x in zip((self.inputs, self.outputs), shares, strict=True))
        )

    def _cholesky(self, factor: torch.Tensor, share: float, damping: float) -> torch.Tensor:
        moved = factor.clone()
        moved.diagonal().add_(share)
        triangle: torch.Tensor
        triangle, info = torch.linalg.cholesky_ex(moved)
        if info or not torch.isfinite(triangle).all():
            raise CurvatureError(
                f"damping={damping}: too small to solve with {self.weight} in {factor.dtype}"
            )
        return triangle


@dataclass(frozen=True, eq=False)
class Damped:
    """Cholesky triangles of the damped factors of a block."""

    inputs: torch.Tensor
    outputs: torch.Tensor

    def solve(self, matrix: torch.Tensor) -> torch.Tensor:
        """Return G^-1 V A^-1, G and A damped."""
        left = torch.cholesky_solve(matrix, self.outputs)
        return torch.cholesky_solve(left.T, self.inputs).T


class KroneckerCurvature:
    """A block for each layer, `rest` on the diagonal elsewhere.

    Damping is factored Tikhonov damping with the correction pi (Martens & Grosse 2015, section 6.3): in place of
    A (x) G + damping I stands

        (A + pi sqrt(damping) I) (x) (G + sqrt(damping) / pi I),  pi^2 = (tr A / dim A) / (tr G / dim G),

    which is larger by pi sqrt(damping) I (x) G + sqrt(damping) / pi A (x) I and takes two Cholesky factors where the
    former takes two eigen-decompositions (AlexNet's largest factor: 1 s and 48 s on two cores). A block that is zero,
    as of a layer whose units are all dead, is damping I.
    """

    def __init__(self, space: ParameterSpace, blocks: Sequence[Block], rest: torch.Tensor) -> None:
        self._space = space
        self._blocks = tuple(blocks)
        self._rest = rest  # (|W|,), 0 where a block is
        self._damped: tuple[float, list[Damped | None]] | None = None  # for the damping asked for last

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The layers' factors, in the order of the layers."""
        return self._blocks

    def diagonal(self) -> torch.Tensor:
        """Return the diagonal (|W|,): A_jj G_ii for the weight from input j to unit i."""
        values = self._rest.clone()
        for block in self._blocks:
            block.write(torch.outer(block.outputs.diagonal(), block.inputs.diagonal()), values, self._space)
        return values

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """Return C v: G V A for each layer."""
        product = self._rest * vector
        for block in self._blocks:
            matrix = block.read(vector, self._space)
            block.write(block.outputs @ matrix @ block.inputs, product, self._space)
        return product

    def solve(self, vector: torch.Tensor, damping: float) -> torch.Tensor:
        """Return the solution with factored damping: see the class and `Curvature.solve`.

        The factors are kept for the damping asked for last, so the next solution with it takes products alone.
        """
        check_damping(damping)
        if self._damped is None or self._damped[0] != damping:
            self._damped = damping, [block.damped(damping) for block in self._blocks]
        solution = vector / (self._rest + damping)
        for block, damped in zip(self._blocks, self._damped[1], strict=True):
            if damped is not None:
                block.write(damped.solve(block.read(vector, self._space)), solution, self._space)
        if not torch.isfinite(solution).all():
            raise CurvatureError(
                f"damping={damping}: the solution is not finite, too small for {vector.dtype}"
            )
        return solution

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the factors by the name of the weight, and the diagonal by the name of each other parameter."""
        kept = {}
        for block in self._blocks:
            kept[block.weight + INPUTS], kept[block.weight + OUTPUTS] = block.inputs, block.outputs
        inside = {name for block in self._blocks for name in (block.weight, block.bias)}
        for name in self._space.names:
            if name not in inside:
                kept[name + REST] = self._rest[self._space.span(name)].clone()
        return kept

    @classmethod
    def restored(cls, tensors: dict[str, torch.Tensor], space: ParameterSpace) -> "KroneckerCurvature":
        """Return the curvature that `tensors` describe; see `Estimator.restore`."""
        rest = next(iter(tensors.values())).new_zeros(space.size)
        blocks, held = [], 0
        for name, shape in zip(space.names, space.shapes, strict=True):
            if name + REST in tensors:
                rest[space.span(name)] = tensors[name + REST]
                held += math.prod(shape)
            elif name + INPUTS in tensors and name + OUTPUTS in tensors:
                inputs, outputs = tensors[name + INPUTS], tensors[name + OUTPUTS]
                with_bias = len(inputs) * len(outputs) > math.prod(shape)
                bias = f"{name.removesuffix('weight')}bias" if with_bias else None
                blocks.append(Block(name, bias, inputs, outputs))
                held += len(inputs) * len(outputs)
        if held != space.size:
            raise CurvatureError(f"kept curvature is of {held:,} parameters: must be of {space.size:,}")
        return cls(space, blocks, rest)
