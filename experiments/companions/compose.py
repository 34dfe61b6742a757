"""From Hydra's overrides to a training."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bgd.errors import ConfigError, first_line, nearest
from experiments.companions.training import Training
from experiments.companions.updates.selective import before_tau
from experiments.config.build import build_as, named
from experiments.config.groups import CONF, choices_in
from experiments.config.overrides import missing_key, parsed

FOLDER = CONF / "companions"
AIDS = ("rates",)  # what others refer to; no part of a training
TRAINING = "training"  # the yaml that has groups
NO_GROUPS = ("study",)  # folders beside those of the groups


@contextmanager
def composing() -> Iterator[None]:
    """Have Hydra read the configuration inside the block."""
    OmegaConf.register_new_resolver("before", before_tau, replace=True)
    OmegaConf.register_new_resolver("times", lambda one, other: one * other, replace=True)
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        yield


def composed(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose a yaml of conf/companions, inside `composing`.

    Raises:
        ConfigError: An override is none of it: naming the key, the value and the nearest valid choice.
    """
    given = parsed(overrides)
    _check_choices(given)
    try:
        found: Any = OmegaConf.to_container(compose(name, list(overrides)), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_complaint(name, given) or first_line(error)) from error
    return dict(found)


def content_of(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose a training, inside `composing`.

    Raises:
        ConfigError: See `composed`.
    """
    found = composed(TRAINING, overrides)
    return {key: value for key, value in found.items() if key not in AIDS and value is not None}


def groups() -> tuple[str, ...]:
    """Name the groups that a training is composed of."""
    return tuple(
        sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and path.name not in NO_GROUPS)
    )


def _check_choices(given: Sequence[Override]) -> None:
    """Check the choices of groups before Hydra does, to name the nearest one."""
    for override in given:
        group, value = override.key_or_group, override.value()
        if group not in groups() or value is None:
            continue
        known = choices_in(f"{FOLDER.name}/{group}")
        for choice in map(str, value if isinstance(value, list) else [value]):
            if choice not in known:
                raise ConfigError(f"{group}={choice!r}: {nearest(choice, known)}")


def _complaint(name: str, given: Sequence[Override]) -> str | None:
    """Say what is wrong with the first key that the chosen groups do not have; None where all are there."""
    chosen = [each for each in given if each.key_or_group in groups()]
    if {each.key_or_group for each in chosen} & {"rule", "regime"} and not any(
        each.key_or_group == "rates" for each in chosen
    ):
        return f"rates: a rule or a regime needs them; valid: {', '.join(choices_in(f'{FOLDER.name}/rates'))}"
    try:
        config = OmegaConf.to_container(
            compose(name, [str(each.input_line) for each in chosen]), resolve=False
        )
    except (HydraException, OmegaConfBaseException):
        return None  # the groups themselves are at fault
    keys = (each.key_or_group for each in given if each not in chosen)
    return next(
        filter(None, (missing_key(key, config, groups() if name == TRAINING else ()) for key in keys)), None
    )


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
