"""Rows of the companion studies: how one lane's training came out. Another kind of row than a run's."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from experiments.records.files import write
from experiments.records.identity import digest
from experiments.records.members import REFERENCE_RECORDS
from experiments.records.packing import packed, unpacked
from experiments.records.schema import RecordError
from experiments.records.strict import build_as

COMMITTED = REFERENCE_RECORDS / "companions"  # a file for each study
SUFFIX = ".jsonl.xz"
VERSION = 1  # raised whenever the same job may give another row
DIGITS = 6  # significant, of every number


@dataclass(frozen=True)
class CompanionJob:
    """What can change a row's numbers.

    Attributes:
        study, arm: Of which comparison, and which side of it.
        scale, profile: How much of it, and by whose account.
        content: Hash of the training's configuration, seed left out, and of what is measured.
        seed: Of the rows, the start, the order and all noise; the same in each arm.
        version: Of this schema and of what makes the rows.
    """

    study: str
    arm: str
    scale: str
    profile: str
    content: str
    seed: int
    version: int = VERSION

    @property
    def id(self) -> str:
        """Name of the row: the hash of all of it."""
        return digest(asdict(self))


@dataclass(frozen=True)
class CompanionRow:
    """The outcome of a job. A number that is not finite is None.

    Attributes:
        job: Of the row.
        values: Numbers at the end, by name.
        curves: The evaluations by name, `step` among them.
        vectors: Other numbers: eigenvalues, weights.
        seconds: Of its training, the bank's over its lanes.
        provenance: What made it.
    """

    job: CompanionJob
    values: Mapping[str, float | None]
    curves: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    vectors: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    provenance: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> float:
        """Look up a number at the end; NaN where it is none."""
        found = self.values.get(name)
        return math.nan if found is None else found


def rounded(value: float) -> float | None:
    """Give a number with `DIGITS` significant digits; None for what is not finite."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def line_of(row: CompanionRow) -> str:
    """Encode a row as one line of JSON."""
    return json.dumps(asdict(row), sort_keys=True, allow_nan=False)


def write_rows(path: Path, rows: Sequence[CompanionRow]) -> None:
    """Write rows, whole or not at all; packed where the name says so."""
    lines = [line_of(row) for row in rows]
    plain = "".join(f"{line}\n" for line in lines).encode()
    write(path, packed(lines) if path.name.endswith(SUFFIX) else plain)


def read_rows(path: Path) -> list[CompanionRow]:
    """Read rows; none where there is no file.

    Raises:
        RecordError: A line is none of this version.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    lines: Iterable[bytes] = unpacked(content, path) if path.name.endswith(SUFFIX) else content.splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            row: CompanionRow = build_as(CompanionRow, json.loads(line), f"line {number}")
        except ValueError as error:
            raise RecordError(f"{path}, line {number}: no row of a companion study: {error}") from error
        if row.job.version != VERSION:
            raise RecordError(f"{path}, line {number}: version {row.job.version}, and {VERSION} is read here")
        found.append(row)
    return found


def study_file(folder: Path, study: str) -> Path:
    """Name the file of a study's rows."""
    return folder / f"{study}{SUFFIX}"
