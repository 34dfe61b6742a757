"""The runs of each preset, composed as Hydra composes them."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, reduce
from itertools import product
from operator import getitem
from typing import Any

from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

from bgd.errors import ConfigError
from experiments.config.groups import CONF, FILES
from experiments.config.overrides import (
    check_name,
    composed,
    is_group,
    missing_key,
    parsed,
    preset_params,
)
from experiments.config.spec import RunSpec, resolved

PUT_IN = ("method", "setting")  # groups whose files nothing else chooses by
NOT_MERGED = ("hydra", FILES)  # of a preset: they say what is run and made of it
Choice = tuple[tuple[str, Any], ...]  # overrides: key and value


def presets() -> list[str]:
    """Return the names of the presets under experiments/conf/experiment that have runs; `public_bugs` has rows."""
    return sorted(path.stem for path in (CONF / "experiment").glob("*.yaml") if preset_params(path.stem))


def specs(profile: str, names: Iterable[str] | None = None) -> list[RunSpec]:
    """Return the runs of some presets, all for None, each run once, with the seeds of the profile's scale.

    Args:
        profile: Name of the profile.
        names: Presets.
    """
    every = specs_of_presets(profile, names)
    return list({spec.run_id: spec for runs in every.values() for spec in runs}.values())


def specs_of_presets(profile: str, names: Iterable[str] | None = None) -> dict[str, list[RunSpec]]:
    """Return the runs of each preset, as `specs` has them."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composer = _Composer(profile)
        return {name: list(_runs(name, composer)) for name in names or presets()}


def _runs(preset: str, composer: "_Composer") -> Iterator[RunSpec]:
    """Yield the runs of a preset, each once, with the seeds and replicas that are `planned`."""
    found: dict[str, RunSpec] = {}
    for choice in _choices(preset):
        spec = composer.spec(choice)
        if all(getattr(spec, key) in values for key, values in planned(spec).items()):
            found[spec.run_id] = spec
    yield from found.values()


def planned(spec: RunSpec) -> dict[str, tuple[int, ...]]:
    """Find the seeds and replicas that a run's scale asks for; where no seed matters, the first seed."""
    seeds = spec.scale.seeds if spec.draws else spec.scale.seeds[:1]
    return {"seed": seeds, "replica": spec.scale.replicas}


class _Composer:
    """Composes configurations as Hydra does, each choice of groups once.

    Composing takes 100 ms and there are hundreds of runs that differ in values, method, setting or preset alone. What
    these say is put into what was composed with the others, a preset's content as the last, unless something composed
    later changes it. Values are set last, in a copy of what came out, unless something refers to them.
    """

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        self._open: dict[tuple[str, ...], DictConfig] = {}
        self._resolved: dict[tuple[str, ...], dict[str, Any]] = {}
        self._specs: dict[tuple[str, ...], RunSpec] = {}

    def spec(self, choice: Choice) -> RunSpec:
        """Return the run of a choice of overrides."""
        groups = tuple((key, value) for key, value in choice if is_group(key))
        values = [(key, value) for key, value in choice if not is_group(key)]
        name = tuple(f"{key}={value!r}" for key, value in choice)
        if name not in self._specs:
            self._specs[name] = RunSpec.of_values(self._values(groups, values))
        return self._specs[name]

    def _values(self, groups: Choice, values: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        """Return the values of one run's configuration."""
        if any(_touches(key, reference) for key, _ in values for reference in _references()):
            config = copy.deepcopy(self._config(groups))
            for key, value in values:
                OmegaConf.update(config, key, value)
            return resolved(config)
        name = tuple(f"{key}={value}" for key, value in groups)
        if name not in self._resolved:
            self._resolved[name] = resolved(self._config(groups))
        plain = copy.deepcopy(self._resolved[name])
        for key, value in values:
            if said := missing_key(key, plain):
                raise ConfigError(said)
            *path, last = key.split(".")
            reduce(getitem, path, plain)[last] = value
        return plain

    def _config(self, groups: Choice) -> DictConfig:
        """Give the configuration of a choice of groups, until the next one is asked for."""
        chosen = dict(groups)
        put = {key: value for key, value in groups if key in PUT_IN and not _is_changed(key, chosen)}
        preset = str(chosen.get("experiment"))
        merged = "experiment" in chosen and "defaults" not in _component("experiment", preset)
        others = tuple(
            f"{key}={value}"
            for key, value in groups
            if key not in put and not (merged and key == "experiment")
        )
        name = (*others, *put, *([preset] if merged else []))  # each time all of `put` is put in anew
        if name not in self._open:
            if others not in self._composed:
                self._composed[others] = composed([f"profile={self._profile}", *others])
            config = copy.deepcopy(self._composed[others])
            if merged:
                _merge_preset(config, preset)
            self._open[name] = config
        for key, value in put.items():
            self._open[name][key] = _component(key, value)
        return self._open[name]


def _merge_preset(config: DictConfig, preset: str) -> None:
    """Merge a preset's content, whose package is the whole configuration, into a configuration."""
    content = _component("experiment", preset)
    with open_dict(config):
        config.merge_with(OmegaConf.masked_copy(content, [key for key in content if key not in NOT_MERGED]))


@cache
def _references() -> frozenset[str]:
    """Return the keys that something under experiments/conf refers to, as far as they are written out."""
    return frozenset(
        found.rstrip(".")
        for path in CONF.rglob("*.yaml")
        for found in re.findall(r"\$\{([\w.]+)", path.read_text(encoding="utf-8"))
    )


def _touches(key: str, reference: str) -> bool:
    """Return whether one of two keys is the other or lies within it."""
    return f"{key}.".startswith(f"{reference}.") or f"{reference}.".startswith(f"{key}.")


def _is_changed(group: str, chosen: Mapping[str, str]) -> bool:
    """Return whether the variant or the preset among some choices changes what a group's file says."""
    preset = chosen.get("experiment")
    return (group == "method" and "variant" in chosen) or (
        preset is not None and group in _component("experiment", preset)
    )


@cache
def _component(group: str, name: str) -> Any:
    config = OmegaConf.load(CONF / group / f"{name}.yaml")
    if group in PUT_IN:
        check_name(group, name, config)  # type: ignore[arg-type]
    return config


def _choices(preset: str) -> Iterator[Choice]:
    """Yield the overrides of each run of a preset."""
    fixed = [("experiment", preset)] if set(_component("experiment", preset)) - set(NOT_MERGED) else []
    axes = []
    for override in parsed([f"{key}={value}" for key, value in preset_params(preset).items()]):
        key = override.get_key_element()
        if not override.is_sweep_override():
            values = [override.value()]
        elif is_group(key):
            values = list(override.sweep_string_iterator())
        else:
            values = list(override.sweep_iterator())
        axes.append([(key, value) for value in values])
    for combination in product(*axes):
        yield (*fixed, *combination)
