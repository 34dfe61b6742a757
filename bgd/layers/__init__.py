"""The one answer to whether a layer is what it looks like: for methods, curvature and evaluation alike."""

from bgd.layers.chain import Link, chain, tamed, unwrapped
from bgd.layers.head import Seen, entered, entering, output_layer, running_linears, watched
from bgd.layers.named import LayerError, editable_linear, linear_layers, parameter_of, plain_layer
from bgd.layers.order import channels_last
from bgd.layers.plain import hooked, is_plain, padding_of

__all__ = [
    "LayerError",
    "Link",
    "Seen",
    "chain",
    "channels_last",
    "editable_linear",
    "entered",
    "entering",
    "hooked",
    "is_plain",
    "linear_layers",
    "output_layer",
    "padding_of",
    "parameter_of",
    "plain_layer",
    "running_linears",
    "tamed",
    "unwrapped",
    "watched",
]
