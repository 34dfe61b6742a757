"""A small residual network (He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016).

Not a network of the thesis: one whose layers are no plain row, which whatever follows an edit from layer to layer has
to leave to the network itself.
"""

from collections import OrderedDict

import torch
from torch import nn

from experiments.mnist.networks.row import Row


class ResidualBlock(nn.Module):
    """ReLU(F(x) + shortcut(x)) with F two 3x3 convolutions (Eqs. 1 and 2 of the paper).

    There is no batch normalisation. Its running statistics are state but no parameters: a gradient step on one sample
    in training mode, as retrain, fine-tune and L1 take it, would change them behind the patch that is to hold the
    whole correction, and would normalise that sample by itself alone. In its place the last convolution of F starts at
    0, so that the block starts as its shortcut and depth does not blow up the values (Zhang, Dauphin, Ma: Fixup
    initialization, ICLR 2019; of its rules this one alone: three blocks need no more).

    Args:
        inputs: Channels that go in.
        outputs: Channels that come out.
        stride: Of the first convolution. Where it is not 1, or the channels differ, the shortcut is a 1x1 convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1)
        _start(self.conv1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
            _start(self.shortcut)
        self.relu2 = nn.ReLU()
        _start(self.conv2)
        nn.init.zeros_(self.conv2.weight)  # the block starts as its shortcut

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs, H / stride, W / stride) of values (N, inputs, H, W)."""
        added: torch.Tensor = self.conv2(self.relu1(self.conv1(values)))
        out: torch.Tensor = self.relu2(added + self.shortcut(values))
        return out


class ResNet(Row):
    """A convolution, three residual blocks of 16, 32 and 64 channels, and a fully connected layer: ResNet-8.

    77,322 parameters at `width` 1. The maps are 28x28, 14x14 and 7x7; their means over all places go into the last
    layer. The form of the paper's networks for CIFAR-10 (section 4.2) with one block for each size of maps.

    Input (N, 1, 28, 28), output logits (N, 10).

    Args:
        width: Factor on every number of channels. Tests use a small one.
    """

    def __init__(self, width: float = 1.0) -> None:
        if width <= 0:
            raise ValueError(f"width={width}: must be above 0")
        c1, c2, c3 = (max(1, round(size * width)) for size in (16, 32, 64))
        super().__init__(
            OrderedDict(
                stem=nn.Conv2d(1, c1, kernel_size=3, padding=1),
                relu=nn.ReLU(),
                block1=ResidualBlock(c1, c1, stride=1),
                block2=ResidualBlock(c1, c2, stride=2),
                block3=ResidualBlock(c2, c3, stride=2),
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                lin=nn.Linear(c3, 10),
            )
        )
        _start(self[0])


def _start(layer: nn.Module) -> None:
    """Draw a convolution's weights so that the values keep their size through a ReLU (He et al., ICCV 2015)."""
    assert isinstance(layer, nn.Conv2d)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
