"""Public bugs: what methods did about reported mistakes of packages, from rows of their own."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from experiments.records.files import sha256
from experiments.records.public_bugs import COMMITTED, BugRow, read_rows
from experiments.records.schema import Run
from experiments.report.canvas import Picture
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Made, Study, words
from experiments.report.public_bugs_figure import draw_bugs
from experiments.report.sheet import Block
from experiments.report.style import BEYOND, METHODS

NONE = ""  # of a cell without a number


@dataclass(frozen=True)
class Aim:
    """What the mistakes of a report should cost at most.

    Attributes:
        package, report: Whose.
        parameters: Of each mistake.
        high, worst: Inputs that flip, at the 95th percentile and at worst; where the truth is known, that break.
    """

    package: str
    report: str
    parameters: int
    high: int
    worst: int

    def met_by(self, row: BugRow) -> bool:
        """Tell whether every mistake is right, by the package's own word, and at no higher cost."""
        return self.within(row) == len(row.said) and at(_harm(row), 95) <= self.high

    def within(self, row: BugRow) -> int:
        """Count the mistakes that are right with no more parameters and no more harm than at worst."""
        each = zip(row.parameters, _harm(row), row.library, strict=True)
        return sum(
            right is True and (count or 0) <= self.parameters and (harm or 0) <= self.worst
            for count, harm, right in each
        )

    def __str__(self) -> str:
        return (
            f"{self.package} {title(self.report)}: at most {self.parameters} parameters, {self.high} inputs at the 95th"
            f" percentile and {self.worst} at worst"
        )


AIMS = (Aim("magika", "mash_1249", 3, 3, 3), Aim("torchcrepe", "octaves", 5, 10, 30))


def _harm(row: BugRow) -> tuple[int | None, ...]:
    return row.flips if row.right is None else row.broken


def known(values: Sequence[int | float | None]) -> list[float]:
    """Give the numbers among values."""
    return [value for value in values if value is not None]


def at(values: Sequence[int | float | None], percentile: float) -> float:
    """Give a percentile of the numbers among values; NaN of none."""
    return float(np.percentile(known(values), percentile)) if known(values) else float("nan")


def title(report: str) -> str:
    """Name a report for people."""
    return str(words("public_bugs")["reports"].get(report, report))


def label(row: BugRow) -> str:
    """Name a row's method, with the options that are not its defaults."""
    name = row.job.method
    plain = METHODS[name].label if name in METHODS else BEYOND[name][0] if name in BEYOND else name
    options = ", ".join(f"{key} {value}" for key, value in json.loads(row.job.options).items())
    return f"{plain} ({options})" if options else plain


@dataclass(frozen=True)
class PublicBugs(Study):
    """A table with a block for each package, and a figure.

    Attributes:
        records: The file with the rows; where it is missing the files say so.
        aims: What should be reached.
    """

    records: Path = COMMITTED
    aims: tuple[Aim, ...] = AIMS
    tables = ("public_bugs",)
    figures = ("public_bugs",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table and the figure; `runs` are none of its own."""
        rows = read_rows(self.records)
        about = self._about(rows)
        told = words("public_bugs")
        blocks = [_as_they_are(rows, told["before"])]
        blocks += [self._block(package, own, told["header"]) for package, own in _packages(rows)]
        yield self.sheet(
            about, [] if rows else [told["none"]], blocks, [_record(row) for row in rows if row.job.method]
        )
        yield Picture(
            "public_bugs", lambda figure: draw_bugs(figure, [row for row in rows if row.parameters])
        )

    def _about(self, rows: Sequence[BugRow]) -> list[str]:
        if not rows:
            return []
        made = rows[0].provenance
        versions = ", ".join(
            f"{name} {made[name]}" for name in sorted(made) if name not in ("revision", "dirty")
        )
        aims = "; ".join(map(str, self.aims))
        return [
            f"Aims: {aims}; ✓ marks rows that reach them.",
            f"{len(rows)} rows, seed {rows[0].job.seed}, with {versions}.",
            f"SHA-256 of the records: {sha256(self.records.read_bytes())[:16]}.",
        ]

    def _block(self, package: str, rows: Sequence[BugRow], header: Sequence[str]) -> Block:
        lines = []
        for row in rows:
            aims = [aim for aim in self.aims if (aim.package, aim.report) == (package, row.job.report)]
            reached = "".join(_reached(aim, row) for aim in aims)
            lines.append([title(row.job.report), label(row) + reached, *_cells(row)])
        job = rows[0].job
        return Block(f"{package} {job.package_version} (SHA-256 {job.sha256[:8]}).", header, lines)


def _reached(aim: Aim, row: BugRow) -> str:
    return " ✓" if aim.met_by(row) else f" ({aim.within(row)} of {len(row.said)} within the aim)"


def _packages(rows: Sequence[BugRow]) -> Iterator[tuple[str, list[BugRow]]]:
    """Go through the packages with the rows of methods that apply."""
    methods = [row for row in rows if row.job.method and not row.impossible]
    for package, own in groupby(methods, lambda row: row.job.package):
        yield package, list(own)


def _as_they_are(rows: Sequence[BugRow], header: Sequence[str]) -> Block:
    """Lay out each report before any correction: how many mistakes, what the package says, what stands in the way."""
    lines = []
    for row in (row for row in rows if not row.job.method):
        said = sorted(
            {answer: row.said.count(answer) for answer in row.said}.items(), key=lambda pair: -pair[1]
        )
        first = ", ".join(f"{answer} ({count})" for answer, count in said[:3]) + (
            " ..." if len(said) > 3 else ""
        )
        first = first if len(said) < len(row.said) or len(said) == 1 else ", ".join(row.said[:3]) + " ..."
        lines.append(
            [row.job.package, title(row.job.report), first, format_count(len(row.said)), row.impossible]
        )
    return Block("Reports as they are.", header, lines)


def _cells(row: BugRow) -> list[str]:
    numbers = [at(row.parameters, 50), at(row.parameters, 100)]
    numbers += [at(values, point) for values in (row.flips, row.broken) for point in (50, 95, 100)]
    right = sum(value is True for value in row.library)
    fixed, count = len(known(row.parameters)), len(row.said)
    return [
        f"{fixed} of {count}",
        f"{right} of {count}",
        *(NONE if np.isnan(value) else format_number(value) for value in numbers),
        format_number(float(np.median(row.seconds))),
    ]


def _record(row: BugRow) -> list[object]:
    numbers: list[object] = [at(row.parameters, 50), at(row.parameters, 100)]
    numbers += [at(values, point) for values in (row.flips, row.broken) for point in (50, 95, 100)]
    reasons = "; ".join(sorted({reason for reason in (*row.reasons, row.impossible) if reason}))
    right = sum(value is True for value in row.library)
    job = row.job
    seconds = float(np.median(row.seconds)) if row.seconds else None
    return [
        *(job.package, job.package_version, job.report, job.method, job.options, len(row.said)),
        *(len(known(row.parameters)), right, *numbers, row.inputs, row.right, row.keep, seconds, reasons),
    ]
