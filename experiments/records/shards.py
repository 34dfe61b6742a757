"""Parts of a run whose samples do not depend on each other: every n-th sample, from each of n first ones.

A part is kept as a run of its own in `runs/<run_id>.shards/`, by the name of its shard, until all of them are there:
then their rows, in the order of the samples, are the run's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bgd.errors import ConfigError
from experiments.records.schema import NON_RELOADING, Header, Measurement, Row, Run, subject

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """The samples at positions `number - 1`, `number - 1 + count`, and so on.

    Attributes:
        number: From 1 to `count`.
        count: Shards of the run.
    """

    number: int
    count: int

    @classmethod
    def read(cls, text: str) -> "Shard":
        """Read `2/5`, the second of five.

        Raises:
            ConfigError: It is no such text.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        number, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= count:
            raise ConfigError(f"shard={text}: must be k/n with k from 1 to n, for example 2/5")
        return cls(number, count)

    @classmethod
    def every(cls, count: int) -> "list[Shard]":
        """Return the shards of a run that has so many."""
        return [cls(number, count) for number in range(1, count + 1)]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """Name of the part's folder."""
        return f"{self.number}-of-{self.count}"

    def of(self, samples: Sequence[T]) -> Sequence[T]:
        """Return its samples of all of them."""
        return samples[self.number - 1 :: self.count]

    def header(self, run: Header) -> Header:
        """Return the header of the part of a run."""
        return replace(run, run_id=self.name, samples=len(self.of(range(run.samples))))


def check_splits(spec: dict[str, Any], shard: Shard) -> None:
    """Check that a run's samples do not depend on each other.

    Args:
        spec: The run's identity.
        shard: That is asked for.

    Raises:
        ConfigError: They do.
    """
    if subject(spec)[1] == NON_RELOADING:
        raise ConfigError(
            f"shard={shard}: in the non-reloading setting each sample's correction depends on those before it, so"
            " such a run has no shards; leave it out"
        )


def merged(parts: Sequence[Run]) -> list[Row | Measurement]:
    """Return the rows of a run.

    Args:
        parts: Of its shards, from the first to the last.
    """
    placed: list[Row | Measurement] = []
    for shard, part in enumerate(parts):
        records: tuple[Row | Measurement, ...] = (*part.rows, *part.measurements)
        for record in records:
            placed.append(replace(record, position=shard + len(parts) * record.position))
    return sorted(placed, key=lambda record: record.position)
