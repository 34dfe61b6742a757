"""A study as data: arms that are compared, and how many seeds of each at which scale."""

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from bgd.errors import ConfigError, nearest
from experiments.companions.compose import FOLDER
from experiments.companions.measures import MEASURES
from experiments.records.strict import build_as, read_yaml

STUDIES = FOLDER / "study"
Overrides = tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """How much of a study is done.

    Attributes:
        seeds: Of each arm.
        minutes: That all of it takes on two cores, roughly.
        overrides: Of every arm.
        arms: Which, by patterns.
        measures: In place of the study's, where there are some.
    """

    seeds: int
    minutes: float
    overrides: Overrides = ()
    arms: tuple[str, ...] = ("*",)
    measures: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Study:
    """The content of a yaml under conf/companions/study.

    Attributes:
        about: What it is, in a sentence.
        scales: By name.
        common: Overrides of every arm.
        profiles: Overrides by whose account a training is.
        arms: Overrides of each.
        axes: In place of arms: an arm for each combination, named with strokes between.
        together: Lanes in a bank at most.
        measures: What is measured of each lane at its end, and how much of it.
    """

    about: str
    scales: Mapping[str, Scale]
    common: Overrides = ()
    profiles: Mapping[str, Overrides] = field(default_factory=dict)
    arms: Mapping[str, Overrides] = field(default_factory=dict)
    axes: tuple[Mapping[str, Overrides], ...] = ()
    together: int = 10
    measures: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.arms) == bool(self.axes):
            raise ConfigError("arms: either these or axes")
        for scale in self.scales.values():
            for name in self.measures if scale.measures is None else scale.measures:
                if name not in MEASURES:
                    raise ConfigError(f"measures={name!r}: {nearest(name, MEASURES)}")

    def each_arm(self, scale: Scale) -> Iterator[tuple[str, Overrides]]:
        """Go through the arms of a scale, each with its own overrides."""
        for name, overrides in self._all_arms():
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in scale.arms):
                yield name, overrides

    def _all_arms(self) -> Iterator[tuple[str, Overrides]]:
        if self.arms:
            yield from self.arms.items()
        else:
            for sides in product(*(axis.items() for axis in self.axes)):
                yield "/".join(name for name, _ in sides), tuple(one for _, few in sides for one in few)

    def scale(self, name: str) -> Scale:
        """Look up a scale.

        Raises:
            ConfigError: There is none of this name.
        """
        if name not in self.scales:
            raise ConfigError(f"scale={name!r}: {nearest(name, self.scales)}")
        return self.scales[name]


def study_names() -> tuple[str, ...]:
    """Name the studies there are."""
    return tuple(path.stem for path in sorted(STUDIES.glob("*.yaml")))


def study_of(name: str, folder: Path = STUDIES) -> Study:
    """Read a study.

    Raises:
        ConfigError: There is none of this name, or its yaml is not one.
    """
    path = folder / f"{name}.yaml"
    if not path.exists():
        raise ConfigError(f"studies={name!r}: {nearest(name, study_names())}")
    study: Study = build_as(Study, read_yaml(path), f"study {name}")
    return study
