"""The networks, a module each: the two of the thesis, MLP and AlexNet, and two more.

All are rows of named layers, `torch.nn.Sequential`, so that an evaluator can start at the first changed layer.
"""

from bgd.networks.alexnet import AlexNet
from bgd.networks.lenet import LeNet
from bgd.networks.mlp import MLP
from bgd.networks.resnet import ResNet

__all__ = ["MLP", "AlexNet", "LeNet", "ResNet"]
