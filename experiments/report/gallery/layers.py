"""A network's layers and how far a correction moved each."""

import math
from collections.abc import Mapping, Sequence

from experiments.records.schema import Row

Tensors = Mapping[str, Sequence[int]]  # shapes in the order of the flat vector


def layer_of(tensor: str) -> str:
    """Return the layer of a tensor: "lin1" of "lin1.bias"."""
    return tensor.rpartition(".")[0] or tensor


def layer_names(tensors: Tensors) -> list[str]:
    """Return the layers in the order of the flat vector."""
    return list(dict.fromkeys(map(layer_of, tensors)))


def layer_norms(row: Row) -> dict[str, float]:
    """Return the L2 norm of the change of each layer that changed, weight and bias together."""
    squares: dict[str, float] = {}
    for tensor, (_, norm, _) in row.layers.items():
        layer = layer_of(tensor)
        squares[layer] = squares.get(layer, 0.0) + norm**2
    return {layer: math.sqrt(square) for layer, square in squares.items()}
