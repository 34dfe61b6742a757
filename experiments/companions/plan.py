"""Which trainings a command line asks for, which of them are done, and in which banks the rest goes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bgd.errors import ConfigError, nearest
from experiments.companions.compose import content_of, described, training_of
from experiments.companions.study import Scale, Study, study_names, study_of
from experiments.companions.train import banks
from experiments.companions.training import Training
from experiments.records.companions import CompanionJob, CompanionRow, read_rows
from experiments.records.identity import digest
from experiments.records.schema import RecordError
from experiments.records.strict import build_as

SMOKE = "smoke"
AUTHOR, DOCUMENT = "author", "document"  # profiles
DONE = "companions"  # folder of rows that are done, under the output folder
TINY = Path("tests") / "data" / "tiny"  # where the committed subset of MNIST is, for the scale smoke


@dataclass(frozen=True)
class Settings:
    """The content of conf/companions/config.yaml.

    Attributes:
        studies: In the order that they are done, each once.
        scale, profile: See `Study`; a study without the profile has its settings in common.
        jobs: Processes of one thread; 0 for one a core.
        rerun: Whether what is done is done again.
        plan: Whether to say what would be done, and no more.
        data_dir, output_dir: Folders.
    """

    studies: tuple[str, ...]
    scale: str
    profile: Literal["document", "author"]
    jobs: int
    rerun: bool
    plan: bool
    data_dir: str
    output_dir: str

    @classmethod
    def of(cls, content: object) -> "Settings":
        """Check what Hydra composed.

        Raises:
            ConfigError: Naming the key, the value and the nearest valid choice.
        """
        settings: Settings = build_as(cls, content, "companions")
        if not settings.studies:
            raise ConfigError(f"studies=[]: name some; {nearest('', study_names())}")
        if settings.jobs < 0:
            raise ConfigError(f"jobs={settings.jobs}: must be at least 1, or 0 for one a core")
        for name in settings.studies:
            study_of(name).scale(settings.scale)
        return replace(settings, studies=tuple(dict.fromkeys(settings.studies)))

    @property
    def output(self) -> Path:
        """The folder of records, tables and figures.

        The scale smoke and the profile document have folders aside: the committed files are of the profile author.
        """
        if self.scale == SMOKE:
            return Path(self.output_dir) / SMOKE
        return self.done / DOCUMENT if self.profile == DOCUMENT else Path(self.output_dir)

    @property
    def done(self) -> Path:
        """The folder of rows that are done."""
        return Path(self.output_dir) / DONE

    @property
    def data(self) -> Path:
        """The folder of data; the scale smoke has the committed subset."""
        return TINY if self.scale == SMOKE else Path(self.data_dir)


@dataclass(frozen=True)
class Lane:
    """A job with its training and what is measured of it."""

    job: CompanionJob
    training: Training
    measures: Mapping[str, int]


@dataclass(frozen=True)
class Work:
    """A study's part of the work.

    Attributes:
        name: Of the study.
        lanes: All of them, in the order of the arms.
        there: Rows that are done, by the job's id.
        minutes: That all of it takes, roughly.
        together: Lanes in a bank at most.
    """

    name: str
    lanes: tuple[Lane, ...]
    there: Mapping[str, CompanionRow]
    minutes: float
    together: int

    @property
    def todo(self) -> list[Lane]:
        """Lanes that are not done."""
        return [lane for lane in self.lanes if lane.job.id not in self.there]

    @property
    def minutes_left(self) -> float:
        """That the rest takes, by the share of lanes."""
        return self.minutes * len(self.todo) / max(1, len(self.lanes))

    def banks(self) -> list[list[Lane]]:
        """Put the lanes to do into banks, of one measure each."""
        rest = self.todo
        places = banks([lane.training for lane in rest], self.together)
        return [[rest[place] for place in bank] for bank in places]


def work_of(settings: Settings, name: str) -> Work:
    """Find out what a study asks for and what of it is done; inside `compose.composing`.

    Raises:
        ConfigError: An override of the study is none.
    """
    study = study_of(name)
    scale = study.scale(settings.scale)
    lanes = tuple(_lanes(settings, name, study, scale))
    rows = [] if settings.rerun else [row for lane in lanes for row in _done(settings, lane.job)]
    return Work(name, lanes, {row.job.id: row for row in rows}, scale.minutes, study.together)


def _done(settings: Settings, job: CompanionJob) -> list[CompanionRow]:
    """Read the row of a job, if it is done."""
    try:
        return read_rows(file_of(settings, job))
    except RecordError as error:
        raise RecordError(f"{error}; delete the file, and its training is done again") from error


def file_of(settings: Settings, job: CompanionJob) -> Path:
    """Name the file of a row that is done."""
    return settings.done / job.study / f"{job.id}.jsonl"


def _lanes(settings: Settings, name: str, study: Study, scale: Scale) -> Iterator[Lane]:
    profile = settings.profile if settings.profile in study.profiles else AUTHOR
    account = study.profiles.get(profile, ())
    measures = study.measures if scale.measures is None else scale.measures
    for arm, own in study.each_arm(scale):
        content = content_of([*study.common, *account, *own, *scale.overrides])
        training = training_of(content)
        told = digest({"training": described(content), "measures": measures})
        for seed in range(scale.seeds):
            job = CompanionJob(name, arm, settings.scale, profile, told, seed)
            yield Lane(job, replace(training, seed=seed), measures)


def rows_of(settings: Settings, work: Work) -> list[CompanionRow]:
    """Read what is done of a study, in the order of its arms."""
    return [row for lane in work.lanes for row in read_rows(file_of(settings, lane.job))]
