"""From Hydra's overrides to a training."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bgd.errors import ConfigError, first_line
from experiments.companions.training import Training
from experiments.config.build import build_as, named
from experiments.config.groups import CONF

FOLDER = CONF / "companions"
AIDS = ("rates",)  # what others refer to; no part of a training


@contextmanager
def composing() -> Iterator[None]:
    """Have Hydra read the configuration inside the block."""
    OmegaConf.register_new_resolver("divide", lambda above, below: above / below, replace=True)
    OmegaConf.register_new_resolver("times", lambda one, other: one * other, replace=True)
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        yield


def content_of(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose conf/companions/training.yaml, inside `composing`.

    Raises:
        ConfigError: The overrides are none of it.
    """
    try:
        found: Any = OmegaConf.to_container(compose("training", list(overrides)), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(first_line(error)) from error
    return {key: value for key, value in found.items() if key not in AIDS and value is not None}


def training_of(content: dict[str, Any]) -> Training:
    """Build a training of what was composed.

    Raises:
        ConfigError: Naming the key, the value and the nearest valid choice.
    """
    training: Training = build_as(Training, content, "training")
    return training


def described(content: dict[str, Any]) -> Any:
    """Give what identifies a training: names of classes and their options, without seed and addresses."""
    return named({key: value for key, value in content.items() if key != "seed"})
