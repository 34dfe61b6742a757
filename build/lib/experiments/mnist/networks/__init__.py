"""The networks, a module each: the two of the thesis, MLP and AlexNet, and two more.

All are rows of named layers, `torch.nn.Sequential`, so that an evaluator can start at the first changed layer.
"""

from experiments.mnist.networks.alexnet import AlexNet
from experiments.mnist.networks.lenet import LeNet
from experiments.mnist.networks.mlp import MLP
from experiments.mnist.networks.resnet import ResNet

__all__ = ["MLP", "AlexNet", "LeNet", "ResNet"]
