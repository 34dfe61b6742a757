"""KFAC: the Fisher information, layer by layer, as a Kronecker product of two small matrices."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bgd.curvature.affine import FEW, Affine, Pass, affine_layers, passes
from bgd.curvature.base import CurvatureError, check_counts, finite, zeros
from bgd.curvature.kronecker import Block, KroneckerCurvature
from bgd.curvature.labels import check_model, of_model
from bgd.curvature.squares import add_rest
from bgd.parameters import ParameterSpace


@dataclass(frozen=True)
class KFAC:
    """Kronecker-factored approximate curvature (Martens & Grosse 2015; convolutions: Grosse & Martens 2016).

    The block of a layer, weight and bias as one matrix (m, n + 1) and h' = (h, 1), is A (x) G in place of
    E[h' h'^T (x) d d^T], as if inputs h and gradients d of what comes out were independent:

        A = 1/N sum_n sum_t h'_nt h'_nt^T                   (n + 1, n + 1)
        G = 1/N sum_n 1/T sum_t E_{y ~ p_n}[d_nt d_nt^T]    (m, m)

    with one position t for a linear layer (2015, Eq. 1) and T for a convolution, whose positions are taken to be
    uncorrelated and alike (2016, Eq. 23 and theorem 1). Between layers there is nothing. The expectation over labels is
    that of `TrueFisher`, with its temperature and draws, so that A (x) G stands for Gauss-Newton. Exact for a linear
    layer where there is a single image, and where d is the same for all.

    A parameter that is in no linear layer and no plain convolution has the diagonal of `TrueFisher`.

    Attributes:
        images: How many images of D, the first ones.
        batch_size: Images at a time: no number depends on it but by rounding.
        temperature: As of `TrueFisher`.
        draws: As of `TrueFisher`.
    """

    images: int = 1000
    batch_size: int = 100
    temperature: float = 1.0
    draws: int | None = None

    def __post_init__(self) -> None:
        check_counts(self, "images", "batch_size")
        check_model(self.temperature, self.draws)

    def estimate(
        self,
        network: nn.Module,
        space: ParameterSpace,
        images: torch.Tensor,
        labels: torch.Tensor,
        stream: np.random.Generator,
    ) -> KroneckerCurvature:
        """Estimate; see `Estimator.estimate`."""
        layers, others = affine_layers(network, space, images[:FEW])
        blocks = [_empty(layer) for layer in layers]
        rest = zeros(network, space)
        for batch in passes(network, layers, images, self.batch_size):
            vectors = of_model(batch.logits, self.temperature, self.draws, stream)
            _add(blocks, batch, vectors)
            add_rest(rest, network, space, others, images[batch.part], vectors)
        for block in blocks:
            for factor in (block.inputs, block.outputs):
                factor /= len(images)
                if not torch.isfinite(factor).all():
                    raise CurvatureError(
                        f"the factors of {block.weight} are not finite: too large for {factor.dtype}"
                    )
        return KroneckerCurvature(
            space, blocks, finite(rest / len(images), space, "the mean of squared gradients")
        )

    def restore(self, tensors: dict[str, torch.Tensor], space: ParameterSpace) -> KroneckerCurvature:
        """See `Estimator.restore`."""
        return KroneckerCurvature.restored(tensors, space)


def _empty(layer: Affine) -> Block:
    weight = layer.module.weight.detach()
    rows = len(weight)
    columns = weight[0].numel() + (layer.bias is not None)
    return Block(layer.weight, layer.bias, weight.new_zeros(columns, columns), weight.new_zeros(rows, rows))


def _add(blocks: list[Block], batch: Pass, vectors: torch.Tensor) -> None:
    """Add what a batch has to the sums over images, for vectors (K, B, C) of `of_model`."""
    for block, inputs in zip(blocks, batch.inputs(), strict=True):
        h = inputs.flatten(0, 1)
        if block.bias is not None:
            h = torch.cat([h, h.new_ones(len(h), 1)], dim=1)
        block.inputs.addmm_(h.T, h)
    for vector in vectors:
        for block, outputs in zip(blocks, batch.output_gradients(vector), strict=True):
            d = outputs.flatten(0, 1)
            block.outputs.addmm_(d.T, d, alpha=1 / outputs.shape[1])
