"""What may be known of a network beyond its parameters and the sample: nothing, a statistic, images, the training data.

The level is part of a method's yaml (`knows`) and is held to: what lies above it is refused.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import nn

from bgd import rng
from bgd.curvature.base import Curvature, Estimator
from bgd.curvature.gradient import mean_gradient
from bgd.errors import ConfigError, nearest
from bgd.flat import FlatNetwork, check_model
from bgd.modes import ordinary, ordinary_tensor
from bgd.outputs import InputError, check_inputs, readable
from bgd.parameters import ParameterSpace

LEVELS = ("nothing", "statistic", "keep_set", "training_data")  # each with what the ones before it have
GIVES = {  # how a user of the library gives what belongs to a level
    "nothing": "nothing is needed",
    "statistic": "Knowledge.of(model, training=(images, labels)), or statistics= as Knowledge.measure gives them",
    "keep_set": "Knowledge.of(model, keep=images)",
    "training_data": "Knowledge.of(model, training=(images, labels))",
}
GRADIENT = "mean_gradient"  # its name among statistics

Statistics = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What a method may ask for, made when it does.

    Attributes:
        mean_gradient: Gives the gradient of the loss of N0, averaged over D (|W|,): a statistic.
        curvature: Gives the curvature of N0's loss over D by an estimator, made once and kept: a statistic.
        keep_images: Gives unlabelled images (N, ...) that N0 was not trained on: a keep-set.
        training: Gives the images (M, ...) and labels (M,) of D.
        level: The highest of `LEVELS` that is not refused.
        space: The parameters of N0; None where they are not looked at.
    """

    mean_gradient: Callable[[], torch.Tensor] | None = None
    curvature: Callable[[Estimator], Curvature] | None = None
    keep_images: Callable[[], torch.Tensor] | None = None
    training: Callable[[], tuple[torch.Tensor, torch.Tensor]] | None = None
    level: str = LEVELS[-1]
    space: ParameterSpace | None = None

    def __post_init__(self) -> None:
        check_level(self.level)

    @classmethod
    def of(
        cls,
        model: nn.Module,
        *,
        training: tuple[torch.Tensor, torch.Tensor] | None = None,
        keep: torch.Tensor | None = None,
        statistics: Statistics | None = None,
        seed: int = 0,
    ) -> "Knowledge":
        """Gather the knowledge of a model that methods may ask for; each piece is computed when it is asked for.

        Args:
            model: The classifier. It is copied, never changed.
            training: Training images (M, ...) and their labels (M,). Statistics are made from them.
            keep: Unlabelled images (N, ...) on which predictions should stay what they are.
            statistics: Of the training data, from `Knowledge.measure`, for whoever does not have the data themselves.
            seed: Of an estimator that draws.

        Raises:
            InputError: Images or labels are none; those that the model does not take are refused when they are used.
            ConfigError: `training` is no pair, or the statistics are no mapping.
        """
        check_model(model)
        if training is not None:
            training = _pair(training)
        if keep is not None:
            check_inputs(keep, None, "keep")
        if statistics is not None and not isinstance(statistics, Mapping):
            raise ConfigError(
                f"statistics is a {type(statistics).__name__}: tensors by name, as Knowledge.measure gives them"
            )
        kept: dict[str, Curvature] = {}

        def curvature(estimator: Estimator) -> Curvature:
            name = str(estimator)
            if name not in kept:
                kept[name] = _curvature(model, estimator, training, statistics or {}, seed)
            return kept[name]

        def gradient() -> torch.Tensor:
            if statistics is not None and GRADIENT in statistics:
                return statistics[GRADIENT]
            assert training is not None, "one of the two is there"
            return mean_gradient(readable(model, *training, "training"), *training)

        @cache
        def kept_images() -> torch.Tensor:
            assert keep is not None, "asked for where it is there"
            _check_finite(readable(model, keep, where="keep"), keep)
            return keep

        has_gradient = training is not None or GRADIENT in (statistics or {})
        return cls(
            mean_gradient=gradient if has_gradient else None,
            curvature=None if training is None and not statistics else curvature,
            keep_images=None if keep is None else kept_images,
            training=None if training is None else lambda: training,
            space=ParameterSpace.of(model),
        )

    @staticmethod
    @ordinary()
    def measure(
        model: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor,
        estimators: Iterable[Estimator] = (),
        seed: int = 0,
    ) -> dict[str, torch.Tensor]:
        """Measure statistics of training data, for `Knowledge.of(model, statistics=...)` where the data are not.

        Args:
            model: The classifier.
            images: Training images (M, ...).
            labels: Their labels (M,).
            estimators: Of curvature: those of the methods that are to be used.
            seed: Of an estimator that draws.

        Returns:
            Tensors by name, to be kept in one file, for example by `safetensors.torch.save_file`: the mean gradient and
            what each estimator gives.
        """
        made = list(estimators) if isinstance(estimators, Iterable) else [None]
        if not all(hasattr(each, "estimate") for each in made):
            raise ConfigError(
                f"estimators={estimators!r}: must be a list of objects such as bgd.curvature.kfac.KFAC()"
            )
        training = _pair((images, labels))
        found = {GRADIENT: mean_gradient(readable(model, *training, "training"), *training)}
        for estimator in made:
            for name, tensor in _estimated(model, estimator, training, seed).tensors().items():
                found[f"{estimator}/{name}"] = tensor
        return found

    def restricted(self, level: str) -> "Knowledge":
        """Return the same, with everything above a level refused."""
        return replace(self, level=level)

    def ask(self, name: str, level: str, what: str) -> Callable[..., Any]:
        """Return the function that gives a piece of knowledge.

        Args:
            name: Of the attribute.
            level: That the piece belongs to.
            what: The piece in words.

        Raises:
            LookupError: It is above what may be known, or is not there.
        """
        if LEVELS.index(level) > LEVELS.index(self.level):
            raise LookupError(
                f"the method needs {what}, and knows={self.level!r} rules that out: {level!r} would not"
            )
        given: Callable[..., Any] | None = getattr(self, name)
        if given is None:
            raise LookupError(f"the method needs {what}, and it was not given: {GIVES[level]}")
        return given


def check_level(level: Any, where: str = "knows") -> str:
    """Return a level that is one.

    Raises:
        ConfigError: It is none of `LEVELS`.
    """
    if level not in LEVELS:
        raise ConfigError(f"{where}={level!r}: no such level of knowledge; {nearest(str(level), LEVELS)}")
    return str(level)


@torch.no_grad()
def _check_finite(network: nn.Module, keep: torch.Tensor) -> None:
    """Refuse a keep-set with an input that is not finite and makes the network's outputs so: it has no class to keep.

    Raises:
        InputError: Names the first.
    """
    if not keep.is_floating_point():
        return
    strange = (~torch.isfinite(keep).flatten(1).all(1)).nonzero().flatten().tolist()
    for place in strange:
        if not torch.isfinite(network(keep[place : place + 1].clone())).all():
            raise InputError(
                f"keep: its input {place} is not finite, nor is what the model says of it, so that it has no class to "
                "keep: take it out"
            )


def _pair(training: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return training data as gradients may be taken over, labels as int64.

    Raises:
        ConfigError: They are no pair.
        InputError: They are no images and labels.
    """
    if not isinstance(training, (tuple, list)) or len(training) != 2:
        raise ConfigError(
            f"training is a {type(training).__name__}: a pair of tensors, (images, labels), is wanted"
        )
    images, labels = training
    check_inputs(images, labels, "training")
    return ordinary_tensor(images), ordinary_tensor(labels).long()


def _curvature(
    model: nn.Module,
    estimator: Estimator,
    training: tuple[torch.Tensor, torch.Tensor] | None,
    statistics: Statistics,
    seed: int,
) -> Curvature:
    """Return a curvature from statistics that hold it, else from training data.

    Raises:
        LookupError: There are neither.
    """
    start = f"{estimator}/"
    held = {name.removeprefix(start): each for name, each in statistics.items() if name.startswith(start)}
    if held:
        return estimator.restore(held, ParameterSpace.of(model))
    if training is None:
        raise LookupError(
            f"the method needs the curvature by {estimator}, and the statistics have no such: "
            "Knowledge.measure(model, images, labels, [estimator]) makes it"
        )
    return _estimated(model, estimator, training, seed)


def _estimated(
    model: nn.Module, estimator: Estimator, training: tuple[torch.Tensor, torch.Tensor], seed: int
) -> Curvature:
    network = FlatNetwork(readable(model, *training, "training"), training[0].device)
    images, labels = (part[: estimator.images] for part in training)
    return estimator.estimate(network.module, network.space, images, labels, rng.stream(seed, "curvature"))
