"""The AlexNet of the thesis (section 4.2), sized for 28x28 grey images."""

from collections import OrderedDict

from torch import nn

from experiments.mnist.networks.row import Row


class AlexNet(Row):
    """Five convolutions and three fully connected layers: 11,696,202 parameters at `width` 1.

    Input (N, 1, 28, 28), output logits (N, 10).

    Args:
        width: Factor on every number of channels and units. Tests use a small one; the thesis' is 1.
        dropout: Probability of dropping a unit before `lin1` and `lin2`, in training mode.
    """

    def __init__(self, width: float = 1.0, dropout: float = 0.5) -> None:
        if width <= 0:
            raise ValueError(f"width={width}: must be above 0")

        def scaled(size: int) -> int:
            return max(1, round(size * width))

        c1, c2, c3, c4, c5 = (scaled(size) for size in (32, 64, 96, 64, 32))
        h1, h2 = scaled(2048), scaled(1024)
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(1, c1, kernel_size=5, padding=1),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(c1, c2, kernel_size=3, padding=1),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(kernel_size=2, stride=2),
                conv3=nn.Conv2d(c2, c3, kernel_size=3, padding=1),
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(c3, c4, kernel_size=3, padding=1),
                relu4=nn.ReLU(),
                conv5=nn.Conv2d(c4, c5, kernel_size=3, padding=1),
                relu5=nn.ReLU(),
                pool5=nn.MaxPool2d(kernel_size=2, stride=1),
                flatten=nn.Flatten(),
                drop1=nn.Dropout(dropout),
                lin1=nn.Linear(c5 * 12 * 12, h1),
                relu6=nn.ReLU(),
                drop2=nn.Dropout(dropout),
                lin2=nn.Linear(h1, h2),
                relu7=nn.ReLU(),
                lin3=nn.Linear(h2, 10),
            )
        )
