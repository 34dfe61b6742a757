"""Optimizers of torch, and of a package that is not needed, over stacked parameters (L, ...) of L lanes.

An element-wise optimizer steps all lanes at once. Rates of the lanes are multiplied into its step, which each of
torch's optimizers has as a factor.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from bgd.errors import ConfigError, nearest
from experiments.companions.numbers import lane

ELEMENTWISE = ("SGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "NAdam", "RAdam", "Adamax")


class Optimizer(Protocol):
    """Describes an optimizer.

    Attributes:
        rate: Learning rate.
        alone: Whether lanes have to be trained one by one.
        graph: Whether gradients need a graph of their own (`create_graph`).
    """

    rate: float

    @property
    def alone(self) -> bool: ...  # noqa: D102

    @property
    def graph(self) -> bool: ...  # noqa: D102

    def build(self, parameters: Mapping[str, torch.Tensor], rate: float) -> torch.optim.Optimizer:
        """Build it for stacked parameters."""
        ...


@dataclass(frozen=True)
class Torch:
    """An optimizer of `torch.optim`.

    Attributes:
        kind: Name of the class.
        rate: Learning rate.
        weight_decay: Coupled (decoupled for AdamW), on weights alone: no biases.
        betas: Of the Adam family.
        options: Others by name.
        nesterov: Of SGD with momentum.
    """

    kind: str = "SGD"
    rate: float = lane(0.1)
    weight_decay: float = 0.0
    betas: tuple[float, ...] = ()
    options: Mapping[str, float] = field(default_factory=dict)
    nesterov: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ELEMENTWISE:
            raise ConfigError(f"kind={self.kind!r}: {nearest(self.kind, ELEMENTWISE)}")

    @property
    def alone(self) -> bool:
        """See `Optimizer`."""
        return False

    @property
    def graph(self) -> bool:
        """See `Optimizer`."""
        return False

    def build(self, parameters: Mapping[str, torch.Tensor], rate: float) -> torch.optim.Optimizer:
        """See `Optimizer.build`."""
        options: dict[str, Any] = dict(self.options)
        if self.betas:
            options["betas"] = tuple(self.betas)
        if self.nesterov:
            options["nesterov"] = True
        chosen = getattr(torch.optim, self.kind)
        made: torch.optim.Optimizer = chosen(_groups(parameters, self.weight_decay), lr=rate, **options)
        return made


@dataclass(frozen=True)
class Lbfgs:
    """L-BFGS of `torch.optim` on the full batch, with strong Wolfe line search.

    Attributes:
        rate: Of the first step.
        iterations: Of each call.
        history: Pairs of step and change of gradient that are kept.
    """

    rate: float = lane(1.0)
    iterations: int = 20
    history: int = 100

    @property
    def alone(self) -> bool:
        """See `Optimizer`."""
        return True

    @property
    def graph(self) -> bool:
        """See `Optimizer`."""
        return False

    def build(self, parameters: Mapping[str, torch.Tensor], rate: float) -> torch.optim.Optimizer:
        """See `Optimizer.build`."""
        return torch.optim.LBFGS(
            list(parameters.values()),
            lr=rate,
            max_iter=self.iterations,
            history_size=self.history,
            line_search_fn="strong_wolfe",
        )


@dataclass(frozen=True)
class Curved:
    """AdaHessian or SophiaH of the package pytorch_optimizer: a diagonal Hessian by random probes.

    Attributes:
        kind: Name of the class.
        rate: Learning rate.
    """

    kind: str = "AdaHessian"
    rate: float = lane(0.1)

    @property
    def alone(self) -> bool:
        """See `Optimizer`."""
        return True

    @property
    def graph(self) -> bool:
        """See `Optimizer`."""
        return True

    def build(self, parameters: Mapping[str, torch.Tensor], rate: float) -> torch.optim.Optimizer:
        """See `Optimizer.build`.

        Raises:
            ConfigError: The package is not there, or has no such optimizer.
        """
        try:
            package = importlib.import_module("pytorch_optimizer")
        except ImportError as error:
            raise ConfigError(
                f"optimizer.kind={self.kind!r} is of a package that is not here: pip install 'bgd[companions]'"
            ) from error
        chosen = getattr(package, self.kind, None)
        if chosen is None:
            raise ConfigError(f"optimizer.kind={self.kind!r}: {nearest(self.kind, dir(package))}")
        made: torch.optim.Optimizer = chosen(list(parameters.values()), lr=rate)
        return made


def _groups(parameters: Mapping[str, torch.Tensor], weight_decay: float) -> Iterable[dict[str, Any]]:
    """Split into weights of layers, which decay, and the rest: biases, and all of batch normalization."""
    decaying = [value for name, value in parameters.items() if is_weight(name)]
    others = [value for name, value in parameters.items() if not is_weight(name)]
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def is_weight(name: str) -> bool:
    """Tell whether a parameter of this name is a weight of a layer."""
    return name.endswith("weight") and not name.startswith("norm.")


class Stepper:
    """Steps stacked parameters, each lane at its own rate.

    Args:
        optimizer: Described.
        parameters: Stacked (L, ...), leaves; changed in place.
        rates: Of the lanes (L,).
    """

    def __init__(
        self, optimizer: Optimizer, parameters: dict[str, torch.Tensor], rates: Sequence[float]
    ) -> None:
        self._same = len(set(rates)) == 1
        self._base = rates[0] if self._same else 1.0
        self._parameters = list(parameters.values())
        self._rates = torch.tensor(rates, dtype=self._parameters[0].dtype, device=self._parameters[0].device)
        self.inner = optimizer.build(parameters, self._base or 1.0)

    def step(self, factor: float, closure: Any = None) -> None:
        """Step by the gradients that the parameters hold.

        Args:
            factor: Of the schedule, on every rate.
            closure: For L-BFGS.
        """
        if not self._base:
            return
        for group in self.inner.param_groups:
            group["lr"] = self._base * factor
        if self._same:
            self.inner.step(closure)
            return
        before = [parameter.detach().clone() for parameter in self._parameters]
        self.inner.step(closure)
        with torch.no_grad():
            for parameter, old in zip(self._parameters, before, strict=True):
                shape = (-1, *(1,) * (parameter.ndim - 1))
                parameter.copy_(old + self._rates.view(shape) * (parameter - old))
