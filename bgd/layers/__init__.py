"""The one answer to whether a layer is what it looks like: for methods, curvature and evaluation alike."""

from bgd.layers.chain import Link, chain, eager, unwrapped
from bgd.layers.head import Seen, entering, output_layer, running_linears, watched
from bgd.layers.plain import LayerError, hooked, is_plain, linear_layers, padding_of, parameter_of, plain_linear

__all__ = [
    "LayerError",
    "Link",
    "Seen",
    "chain",
    "eager",
    "entering",
    "hooked",
    "is_plain",
    "linear_layers",
    "output_layer",
    "padding_of",
    "parameter_of",
    "plain_linear",
    "running_linears",
    "unwrapped",
    "watched",
]
