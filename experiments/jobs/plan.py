"""What has to be run for a profile: every preset's runs, each once; what is there already; how long it takes."""

import copy
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import product
from operator import getitem
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from bgd.errors import ConfigError
from experiments.config.groups import CONF, FILES, files_of
from experiments.config.overrides import (
    check_name,
    composed,
    is_group,
    missing_key,
    parsed,
    preset_params,
)
from experiments.config.spec import RunSpec, resolved
from experiments.jobs.costs import Kind, cost_of, kind_of
from experiments.records.schema import subject
from experiments.records.store import Store

PUT_IN = ("method", "setting")  # groups whose files nothing else chooses by
Choice = tuple[tuple[str, Any], ...]  # overrides: key and value
SHOWN = 3  # files of a preset


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

    Composing takes 100 ms and a sweep has hundreds of runs that differ in values, method or setting alone. These two
    are put into what was composed with others, unless something composed later changes them. Values are set last, in
    a copy of what came out, unless something refers to them.
    """

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._composed: dict[tuple[str, ...], DictConfig] = {}
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
            config = self._config(groups)
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
        """Return a copy of Hydra's configuration, to be changed."""
        put = {key: value for key, value in groups if key in PUT_IN and not _is_changed(key, dict(groups))}
        name = tuple(f"{key}={value}" for key, value in groups if key not in put)
        if name not in self._composed:
            self._composed[name] = composed([f"profile={self._profile}", *name])
        config = copy.deepcopy(self._composed[name])
        for key, value in put.items():
            config[key] = _component(key, value)
        return config


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
    fixed = [("experiment", preset)] if set(_component("experiment", preset)) - {"hydra", FILES} else []
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


@dataclass(frozen=True)
class Plan:
    """The runs of a profile, and how far they are.

    Attributes:
        todo: Runs that are not complete, those of one N0 and its images together, dear ones first.
        done: Runs that are.
        untrained: Titles of the networks whose N0 has to be trained.
        costs: Seconds of one core for each of `todo`, by its id, as `cost_of` has it; None where no run was measured
            at all.
        guessed: How many of `todo` are of a kind that no record tells the time of.
    """

    todo: list[RunSpec]
    done: list[RunSpec]
    untrained: list[str]
    costs: dict[str, float] | None
    guessed: int

    @classmethod
    def of(cls, runs: list[RunSpec], output: Path, costs: dict[Kind, float]) -> "Plan":
        """Look up what is there and what the rest costs."""
        store = Store(output / "runs")
        current = [is_current(spec, store, output / "bases") for spec in runs]
        done = [spec for spec, there in zip(runs, current, strict=True) if there]
        todo = [spec for spec, there in zip(runs, current, strict=True) if not there]
        own = {spec.run_id: cost_of(spec, costs, store) for spec in todo}
        todo.sort(key=lambda spec: (spec.network["name"], spec.bench_id, -own[spec.run_id]))
        missing = {
            spec.network["name"] for spec in runs if not (output / "bases" / f"{spec.base_id}.json").exists()
        }
        guessed = sum(kind_of(spec.identity) not in costs for spec in todo)
        return cls(todo, done, sorted(missing), own if costs else None, guessed)

    @property
    def seconds(self) -> float | None:
        """Seconds of one core for `todo`; None where no run was measured at all."""
        return None if self.costs is None else sum(self.costs.values())

    def text(self, jobs: int) -> str:
        """Say how much there is to do and how long it takes."""
        lines = [f"{len(self.done) + len(self.todo)} runs: {len(self.done)} cached, {len(self.todo)} to run"]
        if self.untrained:
            lines.append(f"N0 to train: {', '.join(self.untrained)}")
        groups = Counter(subject(spec.identity) for spec in self.todo)
        for (network, setting, method), count in sorted(groups.items()):
            lines.append(f"  {network:8} {setting:14} {method:16} {count:4} run{'s' if count > 1 else ''}")
        if self.todo and self.seconds is None:
            lines.append("no record tells how long any of them takes")
        elif self.todo and self.seconds is not None:
            guessed = (
                f"; {self.guessed} of the runs are of a kind without one: guessed" if self.guessed else ""
            )
            lines.append(
                f"about {self.seconds / jobs / 60:.0f} min with {jobs} jobs, by the times in the records{guessed}"
            )
        return "\n".join(lines)

    def by_preset(self, members: Mapping[str, Sequence[RunSpec]], jobs: int) -> str:
        """Say, a line for each preset with runs to do, how many, how long they take and which files are made of them.

        Args:
            members: The runs of each preset; one that several have counts for each.
            jobs: Processes.
        """
        open_ids = {spec.run_id for spec in self.todo}
        lines = []
        for preset, runs in sorted(members.items()):
            rest = [spec.run_id for spec in runs if spec.run_id in open_ids]
            if rest:
                costs = self.costs or {}
                minutes = f" {sum(costs[name] for name in rest) / jobs / 60:4.0f} min" if costs else ""
                lines.append(f"  {preset:28} {len(rest):4} to run{minutes}  {_in_short(files_of(preset))}")
        return "\n".join(
            ["by preset, and what is made from its runs; a run of several counts for each:", *lines]
        )


def _in_short(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def is_current(spec: RunSpec, store: Store, bases: Path) -> bool:
    """Return whether a run is complete, and made with the N0 that is kept now, where one is."""
    if not store.finished(spec.run_id):
        return False
    try:
        kept = json.loads((bases / f"{spec.base_id}.json").read_text())["sha256"]
    except (
        FileNotFoundError,
        ValueError,
        KeyError,
    ):  # gone or damaged: the records still tell which N0 it was
        return True
    return bool(store.header(spec.run_id).base["sha256"] == kept)


def default_jobs(device: str) -> int:
    """Return how many processes to use: one a core, at most 8; one on an accelerator."""
    return 1 if device == "cuda" else min(8, os.cpu_count() or 1)
