"""The two networks of the thesis, a module each.

Both are `torch.nn.Sequential` with named layers, so that an evaluator can start at the first changed layer.
"""

from bgd.networks.alexnet import AlexNet
from bgd.networks.mlp import MLP

__all__ = ["MLP", "AlexNet"]
