"""A run's identity: everything that can change a number, and nothing else."""

import importlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bgd.errors import ConfigError, nearest
from bgd.goals import Goal, arithmetics
from bgd.knowledge import LEVELS, check_level
from experiments.config.build import ABOUT, COST, KNOWS, build, build_as, convert, named
from experiments.config.groups import CONF, GROUPS, check_groups
from experiments.config.scale import COSTS, Scale
from experiments.config.titles import changes, default_dataset
from experiments.mnist import training
from experiments.mnist.data import SOURCES
from experiments.protocol import figures, settings, stratified
from experiments.records.identity import digest
from experiments.records.schema import SCHEMA, subject

PARTS = ("network", "method", "setting", "scale", "profile", "goal")
PLAIN = Goal()  # the label has the largest logit
NUMBERS = ("seed", "order", "replica", "survival")
KEYS = {*PARTS, "probe", *OmegaConf.load(CONF / "config.yaml")} - {"defaults", "hydra"}


@dataclass(frozen=True)
class RunSpec:
    """One run: a network, a method, a setting and a seed at a scale. Frozen and checked.

    Attributes:
        network, method, setting: Their configurations, with `name` and `_target_`.
        probe: The same of what is measured instead; None where samples are corrected. With a probe the method,
            the setting and the seed are no part of the identity.
        scale: How much is run.
        dataset: A key of `experiments.mnist.data.SOURCES`.
        seed: Of the method's random streams.
        order: Of the samples; see `experiments.protocol.samples.samples_of`.
        replica: Of N0; 0 is N0 itself and no part of the identity. See `experiments.mnist.replicas`.
        profile: The name of the scale's profile, for people; no part of the identity.
        goal: Of a correction; part of the identity where it asks for more than that the label has the largest logit.
        survival: Names of the arithmetics in which a corrected network is run; part of the identity if there are any.
    """

    network: dict[str, Any]
    method: dict[str, Any]
    setting: dict[str, Any]
    probe: dict[str, Any] | None
    scale: Scale
    dataset: str
    seed: int
    order: int
    replica: int
    profile: str
    goal: Goal = PLAIN
    survival: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: DictConfig) -> "RunSpec":
        """Read and check a composed configuration.

        Raises:
            ConfigError: Naming the key, the value and the nearest valid choice.
        """
        return cls.of_values(resolved(config))

    @classmethod
    def of_values(cls, plain: dict[str, Any]) -> "RunSpec":
        """Read and check the values of a composed configuration, as `resolved` returns them; they are kept, not copied.

        Raises:
            ConfigError: As of `of`.
        """
        _check_keys(plain)
        dataset = convert(plain["profile"].get("dataset"), str, "profile.dataset")
        if dataset not in SOURCES:
            raise ConfigError(f"profile.dataset={dataset!r}: must be one of {', '.join(sorted(SOURCES))}")
        spec = cls(
            network=plain["network"],
            method=plain["method"],
            setting=plain["setting"],
            probe=plain.get("probe"),
            scale=build_as(Scale, plain["scale"], "scale"),
            dataset=dataset,
            seed=convert(plain["seed"], int, "seed"),
            order=convert(plain["order"], int, "order"),
            replica=convert(plain["replica"], int, "replica"),
            profile=convert(plain["profile"].get("name"), str, "profile.name"),
            goal=Goal(
                margin=convert(plain["goal"].get("margin"), float, "goal.margin"),
                where=convert(plain["goal"].get("where"), tuple[str, ...], "goal.where"),
            ),
            survival=arithmetics(convert(plain["survival"], tuple[str, ...], "survival"), "survival"),
        )
        spec.scale.check_images(SOURCES[dataset])
        if spec.replica < 0:
            raise ConfigError(f"replica={spec.replica}: must be 0, N0 itself, or above")
        # Names, types and ranges are checked before anything is run.
        for key in ("network", "method", "setting", "probe"):
            if (component := getattr(spec, key)) is not None:
                _built(json.dumps(component, default=str), key)
        if spec.probe is None:
            if KNOWS not in spec.method:
                raise ConfigError(f"method.{KNOWS}: missing; one of {', '.join(LEVELS)}")
            check_level(spec.knows, f"method.{KNOWS}")
            check_groups(spec.method, f"method.{GROUPS}")
            cost = spec.method.get(COST, COSTS[0])
            if cost not in COSTS:
                raise ConfigError(f"method.{COST}={cost!r}: must be one of {', '.join(COSTS)}")
        return spec

    @property
    def knows(self) -> str:
        """What the method may know, one of `bgd.knowledge.LEVELS`; a probe may know everything."""
        return LEVELS[-1] if self.probe is not None else self.method[KNOWS]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that can change a number, as plain values: what a run's header calls `spec`."""
        if self.probe is None:
            method = {key: value for key, value in self.method.items() if key not in ABOUT}
            work = {
                "method": named(method),
                "setting": named(self.setting),
                "seed": self.seed,
                **self._beyond,
            }
            versions = {"setting": settings.VERSION, "method": _version(self.method)}
        else:
            work, versions = {"probe": named(self.probe)}, {"probe": _version(self.probe)}
        return {
            "network": named(self.network),
            **work,
            "order": self.order,
            **({"replica": self.replica} if self.replica else {}),
            "scale": {
                "samples": self.scale.samples,
                "train_images": self.scale.train_images,
                "test_images": self.scale.test_images,
                **({"train_part": self.scale.part} if self.scale.part else {}),
                "recipe": vars(self.scale.recipe),
            },
            "dataset": self.dataset,
            "versions": {
                "records": SCHEMA,
                "training": training.VERSION,
                "evaluation": figures.VERSION,
                **({"part": stratified.VERSION} if self.scale.part else {}),
                **versions,
            },
        }

    @property
    def _beyond(self) -> dict[str, Any]:
        """What a run of corrections is asked for beyond its method, setting and seed."""
        goal = {"goal": {"margin": self.goal.margin, "where": list(self.goal.where)}}
        return {
            **(goal if self.goal != PLAIN else {}),
            **({"survival": list(self.survival)} if self.survival else {}),
        }

    @cached_property
    def run_id(self) -> str:
        """Hash of the identity."""
        return digest(self.identity)

    @cached_property
    def draws(self) -> bool:
        """Whether another seed may give other numbers."""
        if self.probe is not None:
            return False
        says = getattr(_built(json.dumps(self.method), "method"), "draws", None)
        return says is None or bool(says(_built(json.dumps(self.network), "network")))

    @cached_property
    def base_id(self) -> str:
        """Identity of the N0 it starts from."""
        return training.identity(named(self.network), self.scale.recipe, self.dataset)

    @property
    def training_seconds(self) -> float | None:
        """Seconds of one core that training N0 takes; None where nobody has measured it."""
        each = self.scale.epoch_seconds
        return None if each is None else each * self.scale.recipe.epochs

    @cached_property
    def bench_id(self) -> str:
        """Identity of N0 and of the images that it is evaluated on: what runs of one workbench share."""
        scale = self.scale
        return digest(
            [
                self.base_id,
                self.replica,
                scale.train_images,
                scale.part,
                scale.test_images,
                scale.expected_errors,
            ]
        )

    @property
    def title(self) -> str:
        """The run in a few words; no two runs of a plan have the same."""
        network, setting, name = subject(self.identity)
        corrected = self.probe is None
        sections = {"method": self.method} if corrected else {"probe": self.probe or {}}
        sections |= {"network": self.network, "scale": self.identity["scale"]}
        words = [network, name, setting, *changes(self.profile, sections, self.setting["name"])]
        if self.dataset != default_dataset(self.profile):
            words.append(f"dataset={self.dataset}")
        if corrected:
            words += [f"margin={self.goal.margin:g}"] if self.goal.margin else []
            words += [f"in {','.join(self.goal.where)}"] if self.goal.where else []
            words += [f"survival={','.join(self.survival)}"] if self.survival else []
            words.append(f"seed={self.seed}")
        if self.order:
            words.append(f"order={self.order}")
        if self.replica:
            words.append(f"replica={self.replica}")
        if self.scale.recipe.seed:
            words.append(f"N0={self.scale.recipe.seed}")
        return " ".join(words)


@lru_cache(maxsize=4096)
def _built(config: str, key: str) -> Any:
    """Build a component from its configuration in JSON, to be looked at alone: nothing is allocated for it."""
    with torch.device("meta"):
        return build(json.loads(config), key)


def resolved(config: DictConfig) -> dict[str, Any]:
    """Return the values of a composed configuration, each reference followed.

    Raises:
        ConfigError: A reference leads nowhere.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(plain, dict)
    return plain  # type: ignore[return-value]  # keys are text


def _check_keys(plain: dict[str, Any]) -> None:
    """Check that a configuration has the keys of experiments/conf/config.yaml, and mappings where it has mappings."""
    for key in plain:
        if key not in KEYS:
            raise ConfigError(f"{key}: unknown key; {nearest(str(key), KEYS)}")
    for key in (*PARTS, *NUMBERS):
        if key not in plain:
            raise ConfigError(f"{key}: missing, as conf/config.yaml has it")
    for key in (*PARTS, *(["probe"] if plain.get("probe") is not None else [])):
        if not isinstance(plain[key], dict):
            raise ConfigError(f"{key}={plain[key]!r}: must be a mapping, or the name of a file in conf/{key}")


def _version(config: dict[str, Any]) -> int:
    """Return the version of the module that a component is from, raised by those of the components inside it."""
    module = importlib.import_module(config["_target_"].rpartition(".")[0])
    inside = sum(
        _version(part) - 1 for part in config.values() if isinstance(part, dict) and "_target_" in part
    )
    return int(getattr(module, "VERSION", 1)) + inside
