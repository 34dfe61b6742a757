"""From a command line to the configurations of its jobs: Hydra's grammar, with every key and choice checked.

Hydra composes what it can and appends what it is told to. Here a key is one of the configuration, a choice one that
exists, a preset all of its runs; what is none is refused, with the nearest name there is.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bgd.errors import ConfigError, first_line, nearest
from experiments.config.build import NAME
from experiments.config.groups import CONF, FILES, choices_in, methods_in

GROUPS = ("network", "method", "setting", "probe", "variant", "profile", "experiment")
OPTIONAL = ("probe", "variant", "experiment")
NOT_CHOSEN = tuple(f"{group}=null" for group in OPTIONAL)
COMPONENTS = ("network", "method", "setting", "probe", "scale")  # what builds them knows every key
SWEEP = ("-m", "--multirun")
METHOD_ONLY = ("method", "variant", "setting", "seed")  # with a probe these mean nothing


def preset_params(preset: str) -> dict[str, Any]:
    """Return the axes of a preset's sweep: overrides as text, by key."""
    content = OmegaConf.load(CONF / "experiment" / f"{preset}.yaml")
    return dict(OmegaConf.select(content, "hydra.sweeper.params") or {})


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Return overrides by Hydra's grammar, which has one more word here: `method=group(NAME)`.

    Raises:
        ConfigError: One is not of it, or there is no such group.
    """
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    parser.functions.register("group", _group)
    try:
        return parser.parse_overrides(list(overrides))
    except OverrideParseException as error:
        if isinstance(error.__cause__, ConfigError):  # of a group
            raise error.__cause__ from None
        said = first_line(error)
        raise ConfigError(f"{error.override}: cannot be read, write key=value ({said})") from error


def _group(name: str) -> ChoiceSweep:
    return ChoiceSweep(list=list(methods_in(name)))


def jobs_of(arguments: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each run that a command line asks for; inside `initialize_config_dir`.

    Args:
        arguments: Overrides, and `-m` where they are those of a sweep.

    Raises:
        ConfigError: There is no such choice, a value is not of the grammar, a preset is asked for without `-m`, or
            nothing is left to run.
    """
    sweep = any(argument in SWEEP for argument in arguments)
    given = parsed([argument for argument in arguments if argument not in SWEEP])
    _check_keys(given)
    check_choices(given)
    preset = _chosen_preset(given, sweep)
    params = parsed([f"{key}={value}" for key, value in preset_params(preset).items()] if preset else [])
    _check_probe(given, params)
    axes = {override.get_key_element(): list(_values(override, sweep)) for override in (*params, *given)}
    return [list(job) for job in product(*axes.values())]


def composed(overrides: Sequence[str]) -> DictConfig:
    """Return Hydra's configuration of the overrides of one run; inside `initialize_config_dir`.

    Raises:
        ConfigError: A key does not exist, a file has another name than what it configures, or an override takes back
            what the variant changes.
    """
    try:
        # Hydra takes no null for a group: an optional one that is not chosen is one that is not named.
        named = [each for each in overrides if each not in NOT_CHOSEN]
        config = compose("config", named, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_unknown_key(overrides) or first_line(error)) from error
    choices = config.hydra.runtime.choices
    for group in GROUPS:
        if group in config and choices.get(group):
            check_name(group, choices[group], config[group])
    if choices.get("variant"):
        _check_variant(choices["variant"], config.method)
    OmegaConf.set_struct(config, False)
    for key in ("hydra", FILES):
        config.pop(key, None)
    OmegaConf.set_struct(config, True)
    return config


def check_choices(overrides: Sequence[Override]) -> None:
    """Check the choices of groups before Hydra does, to name the nearest valid one.

    Raises:
        ConfigError: One does not exist, or a pattern fits none.
    """
    for override in overrides:
        group = override.key_or_group
        if not is_group(group) or override.is_delete():
            continue
        known = choices_in(group)
        chosen = [str(choice) for choice in _choices(override)]
        if not chosen:
            raise ConfigError(f"{override.input_line}: fits no {group}; valid: {', '.join(known)}")
        for choice in chosen:
            if choice not in known and not (group in OPTIONAL and choice == "null"):
                raise ConfigError(f"{group}={choice!r}: there is no such {group}; {nearest(choice, known)}")


def check_name(group: str, choice: str, config: Mapping[str, Any]) -> None:
    """Check that what a file configures is called as the file: runs of two with one name would mix.

    Raises:
        ConfigError: It is not.
    """
    name = config.get(NAME)
    if name != choice:
        raise ConfigError(
            f"{group}.{NAME}={name!r}: must be {choice!r}, as conf/{group}/{choice}.yaml is called"
        )


def missing_key(key: str, config: Any, groups: Sequence[str] = GROUPS) -> str | None:
    """Return the sentence for a key that a configuration does not have; None where it does.

    Args:
        key: Dotted.
        config: Plain dicts.
        groups: Keys at its top that are valid though it does not have them.
    """
    prefix = ""
    for part in key.split("."):
        if not isinstance(config, dict):
            return f"{key}: there is no such key, {prefix.rstrip('.')} is a single value"
        if part not in config:
            known = {*map(str, config), *(groups if not prefix else ())}
            return f"{key}: there is no such key; {nearest(part, known)}"
        config, prefix = config[part], f"{prefix}{part}."
    return None


def leaves(config: Mapping[str, Any] | DictConfig, prefix: str = "") -> dict[str, Any]:
    """Return the values of a mapping and of those inside it, by dotted key."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        inside = isinstance(value, (Mapping, DictConfig))
        found.update(leaves(value, f"{prefix}{key!s}.") if inside else {f"{prefix}{key!s}": value})
    return found


def is_group(key: str) -> bool:
    """Return whether a key chooses a file under experiments/conf."""
    return (CONF / key).is_dir()


def _choices(override: Override) -> list[Any]:
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return ["null" if override.value() is None else override.value()]


def _values(override: Override, sweep: bool) -> Iterator[str]:
    """Yield `key=value` for each value of an override."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        yield (
            key
            if override.value() is None and override.is_delete()
            else (f"{key}={override.get_value_element_as_str()}")
        )
        return
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{override.input_line}: a sweep is over single values; list them, or use range(...)"
        )
    values = list(override.sweep_string_iterator())
    if not values:
        raise ConfigError(f"{override.input_line}: there is no value in it, so nothing to run")
    if not sweep:
        raise ConfigError(f"{override.input_line}: several values are a sweep; add -m")
    yield from (f"{key}={value}" for value in values)


def _check_keys(overrides: Sequence[Override]) -> None:
    """Check the first word of each key; Hydra appends any with a + before it."""
    for override in overrides:
        key = override.key_or_group
        first = key.partition(".")[0]
        if first == "hydra" or key.startswith("hydra/"):
            raise ConfigError(f"{key}: a run has no use for settings of Hydra's own; leave it out")
        if first == FILES:
            raise ConfigError(f"{key}: a preset's own word on what is made from its runs; leave it out")
        if (override.is_add() or override.is_force_add()) and first not in COMPONENTS:
            said = missing_key(key, OmegaConf.to_container(compose("config"), resolve=False))
            raise ConfigError(said or f"{override.input_line}: there is a key {key}, write it without +")


def preset_of(job: Sequence[str]) -> str | None:
    """Find the preset that a job of `jobs_of` is of."""
    chosen = [override.partition("=")[2] for override in job if override.startswith("experiment=")]
    return chosen[0] if chosen and chosen[0] != "null" else None


def _chosen_preset(given: Sequence[Override], sweep: bool) -> str | None:
    """Return the preset that is asked for."""
    found = [override for override in given if override.key_or_group == "experiment"]
    chosen = [choice for override in found for choice in _choices(override) if choice != "null"]
    if not chosen:
        return None
    if len(chosen) > 1:
        raise ConfigError(
            f"{found[-1].input_line}: each preset has runs of its own; one command for each, or make reproduce for all"
        )
    if not preset_params(str(chosen[0])):
        raise ConfigError(
            f"experiment={chosen[0]}: it has no runs on MNIST, but rows of its own: make public-bugs"
        )
    if not sweep:
        raise ConfigError(f"experiment={chosen[0]}: a preset is a sweep; add -m")
    return str(chosen[0])


def _check_probe(given: Sequence[Override], params: Sequence[Override]) -> None:
    """Refuse what a user says of the method where nothing is corrected."""
    probes = [o for o in (*params, *given) if o.key_or_group == "probe"]
    if not any(choice != "null" for override in probes[-1:] for choice in _choices(override)):
        return
    for override in given:
        if override.key_or_group.partition(".")[0] in METHOD_ONLY:
            raise ConfigError(
                f"{override.input_line}: a probe measures N0, without method, variant, setting and seed; leave it out"
            )


def _check_variant(variant: str, method: DictConfig) -> None:
    content = OmegaConf.load(CONF / "variant" / f"{variant}.yaml")
    assert isinstance(content, DictConfig), "a mapping"
    for key, value in leaves(content).items():
        found = OmegaConf.select(method, key)
        if found != value:
            raise ConfigError(
                f"method.{key}={found!r}: contradicts variant={variant}, which sets {value!r}; choose one of the two"
            )


def _unknown_key(overrides: Sequence[str]) -> str | None:
    """Return the complaint about the first key that the choices of groups do not have; None where all are there."""
    keys = [override.partition("=")[0].lstrip("+~") for override in overrides]
    groups = [override for override, key in zip(overrides, keys, strict=True) if is_group(key)]
    try:
        config = OmegaConf.to_container(compose("config", groups), resolve=False)
    except (HydraException, OmegaConfBaseException):
        return None  # the groups themselves are at fault
    said = (missing_key(key, config) for key in keys if not is_group(key))
    return next((sentence for sentence in said if sentence), None)
