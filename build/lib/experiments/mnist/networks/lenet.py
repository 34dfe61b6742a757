"""LeNet-5 (LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998, section II).

Not a network of the thesis: an architecture between its two in size.
"""

from collections import OrderedDict

from torch import nn

from experiments.mnist.networks.row import Row


class LeNet(Row):
    """Two convolutions and three fully connected layers: 61,706 parameters at `width` 1.

    The form it is mostly taught in: ReLU in place of the scaled tanh, max-pooling in place of trained averages, every
    map of the second convolution connected to every map before it, and a linear output layer in place of radial basis
    functions. Padding makes the 32x32 input of the paper of the 28x28 images.

    Input (N, 1, 28, 28), output logits (N, 10).

    Args:
        width: Factor on every number of channels and units. Tests use a small one; the paper's is 1.
    """

    def __init__(self, width: float = 1.0) -> None:
        if width <= 0:
            raise ValueError(f"width={width}: must be above 0")
        c1, c2, h1, h2 = (max(1, round(size * width)) for size in (6, 16, 120, 84))
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(1, c1, kernel_size=5, padding=2),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(kernel_size=2, stride=2),
                conv2=nn.Conv2d(c1, c2, kernel_size=5),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(kernel_size=2, stride=2),
                flatten=nn.Flatten(),
                lin1=nn.Linear(c2 * 5 * 5, h1),
                relu3=nn.ReLU(),
                lin2=nn.Linear(h1, h2),
                relu4=nn.ReLU(),
                lin3=nn.Linear(h2, 10),
            )
        )
