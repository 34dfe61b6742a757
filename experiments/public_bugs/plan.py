"""Which jobs a configuration asks for, and which of them are done."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgd import METHODS
from bgd.errors import ConfigError, nearest
from experiments.public_bugs.fetch import pin
from experiments.public_bugs.subject import SPLITS
from experiments.records.public_bugs import BugRow, Job, read_rows
from experiments.records.strict import build_as

FOLDER = "public_bugs"  # of rows that are done, under the output folder


@dataclass(frozen=True)
class Report:
    """A public report, or a family of them.

    Attributes:
        mistakes: Inputs that are wrong, at most; a method may have its own, lower bound.
        keep: Inputs of the keep-set.
        inputs: On which flips are counted.
    """

    mistakes: int = 1
    keep: int = 2000
    inputs: int = 2500


@dataclass(frozen=True)
class Asked:
    """A method with options.

    Attributes:
        method: Its name.
        options: Where they are not its defaults, as JSON.
        mistakes: Most mistakes of a report, where one takes long; 0 for all.
        packages: Those that it is for; none named, all.
    """

    method: str
    options: str = "{}"
    mistakes: int = 0
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """The content of conf/experiment/public_bugs.yaml.

    Attributes:
        seed: Of generated inputs, splits and methods.
        split: `held_out` for what is reported, `aside` for choosing options.
        data_dir, output_dir: Folders.
        rerun: Whether jobs that are done are done again.
        methods: In the order of the table.
        reports: Of each package, by their numbers.
    """

    seed: int
    split: str
    data_dir: str
    output_dir: str
    rerun: bool
    methods: tuple[Asked, ...]
    reports: Mapping[str, Mapping[str, Report]]

    @classmethod
    def of(cls, content: Any) -> "Settings":
        """Read what Hydra composed.

        Raises:
            ConfigError: Naming the key, the value and the nearest valid choice.
        """
        methods = [{**each, "options": _as_json(each.get("options", {}))} for each in content["methods"]]
        settings: Settings = build_as(cls, {**content, "methods": methods}, "public_bugs")
        if settings.split not in SPLITS[1:]:
            raise ConfigError(f"split={settings.split!r}: {nearest(settings.split, SPLITS[1:])}")
        for asked in settings.methods:
            if asked.method not in METHODS:
                raise ConfigError(
                    f"method={asked.method!r}: no such method; {nearest(asked.method, METHODS)}"
                )
            for package in asked.packages:
                pin(package)
        return settings

    @property
    def rows(self) -> Path:
        """The folder of rows that are done."""
        return Path(self.output_dir) / FOLDER

    def jobs(self) -> Iterator[Job]:
        """Go through the jobs, those of a package together: first its mistakes as they are, then each method."""
        for package, reports in self.reports.items():
            for name, report in reports.items():
                yield self._job(package, name, report, Asked(""))
                for asked in self.methods:
                    if not asked.packages or package in asked.packages:
                        yield self._job(package, name, report, asked)

    def _job(self, package: str, name: str, report: Report, asked: Asked) -> Job:
        its_pin, most = pin(package), min(report.mistakes, asked.mistakes or report.mistakes)
        return Job(
            *(package, name, its_pin.version, its_pin.sha256, asked.method, asked.options, self.split),
            *(most, report.keep, report.inputs, self.seed),
        )


def _as_json(options: Any) -> str:
    return json.dumps(options, sort_keys=True)


def done(settings: Settings, jobs: list[Job]) -> dict[str, BugRow]:
    """Read the rows of jobs that are done, by the job's id."""
    found = (read_rows(settings.rows / f"{job.id}.jsonl") for job in jobs)
    return {row.job.id: row for rows in found for row in rows}
