"""Rows of public bugs: what a method did about a report's mistakes. Another kind of row than a run's."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from experiments.records.files import write
from experiments.records.identity import digest
from experiments.records.members import REFERENCE_RECORDS
from experiments.records.schema import RecordError
from experiments.records.strict import build_as

COMMITTED = REFERENCE_RECORDS / "public_bugs.jsonl"
VERSION = 1  # raised whenever the same job may give another row


@dataclass(frozen=True)
class Job:
    """What can change a row's numbers.

    Attributes:
        package, report: Of whom, and which report.
        package_version, sha256: Of its file.
        method: Name; empty for the mistakes as they are, before any correction.
        options: Of the method, as JSON, where they are not its defaults.
        split: Of the mistakes and of the inputs that flips are counted on.
        mistakes, keep, inputs: The most there may be of each.
        seed: Of what is generated and drawn.
        version: Of this schema and of what makes the rows.
    """

    package: str
    report: str
    package_version: str
    sha256: str
    method: str
    options: str
    split: str
    mistakes: int
    keep: int
    inputs: int
    seed: int
    version: int = VERSION

    @property
    def id(self) -> str:
        """Name of the row: the hash of all of it."""
        return digest(asdict(self))


@dataclass(frozen=True)
class BugRow:
    """The outcome of a job: tuples have an entry for each mistake.

    Attributes:
        job: Of the row.
        said: The package's own answers before.
        already: Whether the network here is right where the package is wrong, by its thresholds.
        parameters: How many the method changed; None where it found no change.
        flips: How many of `inputs` changed class.
        broken: How many of them were right and became wrong; None where no truth is known.
        library: Whether the package's own call is right with the changed weights; None where they cannot be.
        reasons: Why there is no change, or none of the package's; empty where there is.
        seconds: That the correction took, statistics of the keep-set included in the first.
        keep, inputs, right: How many there were, and how many of the inputs are right.
        kinds: What the inputs are, in words.
        impossible: Why no change of weights can help, where none can.
        provenance: What made it.
    """

    job: Job
    said: tuple[str, ...]
    already: tuple[bool, ...] = ()
    parameters: tuple[int | None, ...] = ()
    flips: tuple[int | None, ...] = ()
    broken: tuple[int | None, ...] = ()
    library: tuple[bool | None, ...] = ()
    reasons: tuple[str, ...] = ()
    seconds: tuple[float, ...] = ()
    keep: int = 0
    inputs: int = 0
    right: int | None = None
    kinds: str = ""
    impossible: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)


def line_of(row: BugRow) -> bytes:
    """Encode a row as one line of JSON."""
    return json.dumps(asdict(row), sort_keys=True, allow_nan=False).encode() + b"\n"


def write_rows(path: Path, rows: Iterable[BugRow]) -> None:
    """Write rows, whole or not at all."""
    write(path, b"".join(line_of(row) for row in rows))


def read_rows(path: Path) -> list[BugRow]:
    """Read rows; none where there is no file.

    Raises:
        RecordError: A line is none of this version.
    """
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row: BugRow = build_as(BugRow, json.loads(line), f"line {number}")
        except ValueError as error:
            raise RecordError(f"{path}, line {number}: no row of a public bug: {error}") from error
        if row.job.version != VERSION:
            raise RecordError(f"{path}, line {number}: version {row.job.version}, and {VERSION} is read here")
        found.append(row)
    return found
