"""The options of every method, chosen by one search on N0's errors among the images that were set aside.

    python -m scripts.tune network=mlp                    # what `tuning.yaml` asks for, and what the log has not
    python -m scripts.tune network=mlp --only ewc         # of one contender
    python -m scripts.tune network=mlp --report           # the log as tables and as yaml, without a trial

A contender is a method in a setting, with a grid of options: a trial for each point, and no more trials for one method
than for another. Each trial is a line of the log once it is done, and is not done again. The samples are those of
`scripts.held_out`: no test image is looked at.

The rule, laid down before any trial. Among a contender's trials

1. those that meet the most of the contender's bounds (`at_most`, `at_least`: on the numbers of a trial),
2. of these the ones that make the largest whole percentage of the samples right,
3. of these the one that leaves other images alone best. One correction: the mean change of the accuracy on untouched
   images over the tenth of the corrections that are worst there. In a row: untouched accuracy plus retention.

A tie goes to the one that stands first in the grid.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hydra import initialize_config_dir
from numpy.typing import NDArray

from bgd.errors import ConfigError, nearest
from experiments.command import prepared
from experiments.config.overrides import CONF, composed, jobs_of
from experiments.config.spec import RunSpec
from experiments.jobs.ending import REFUSALS, ended
from experiments.jobs.process import every_core
from experiments.jobs.progress import log_to_console
from experiments.mnist.data import DataError
from experiments.protocol.settings import Stage
from experiments.records.schema import CORRECTED, UNCORRECTED, Row, compact
from experiments.records.strict import build_as, read_yaml
from experiments.report.render import markdown
from scripts.held_out import HeldOut

log = logging.getLogger(__name__)

GRID = Path(__file__).with_name("tuning.yaml")
LOG = Path("outputs/tuning/trials.jsonl")
WORST = 0.1  # share of the corrections that one correction is judged by
GENERAL = ("rotations", "noise")  # of the sample's variants
ALONE = ("correct", "changed_median", "changed_max", "mean", "score", "worst", *GENERAL)  # columns
IN_A_ROW = ("correct", "changed_median", "changed_max", "untouched", "retention")

NOTHING = -1000.0  # the score of a trial without a correction: below every other

Numbers = Mapping[str, float]
Line = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """A method in a setting, and the options that are looked at.

    Attributes:
        given: What every trial has, as on the command line: `method=ewc`, `setting=reloading`, fixed options.
        grid: The options that are chosen, each with its values: `method.steps=40,100`. A trial for each combination.
        at_most, at_least: Bounds on numbers of a trial that come before everything else.
    """

    given: tuple[str, ...]
    grid: tuple[str, ...] = ()
    at_most: Mapping[str, float] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)

    def merit(self, numbers: Numbers) -> tuple[float, ...]:
        """Return what the rule compares, the larger the better."""
        met = sum(numbers[name] <= bound for name, bound in self.at_most.items())
        met += sum(numbers[name] >= bound for name, bound in self.at_least.items())
        return met, np.floor(numbers["correct"] + 1e-9), numbers["score"]


@dataclass(frozen=True)
class Search:
    """What is searched: the content of a yaml.

    Attributes:
        trials: The most that a contender may have.
        contenders: By name.
    """

    trials: int
    contenders: Mapping[str, Contender]

    @classmethod
    def read(cls, path: Path, only: Sequence[str] = ()) -> "Search":
        """Read a yaml, and leave all contenders but some out.

        Raises:
            ConfigError: A key, a value or a name of `only` is wrong.
        """
        made: Search = build_as(cls, read_yaml(path), path.stem)
        for name in only:
            if name not in made.contenders:
                raise ConfigError(f"--only={name}: no such contender; {nearest(name, made.contenders)}")
        return cls(made.trials, {name: made.contenders[name] for name in only or made.contenders})


@dataclass(frozen=True)
class Trial:
    """One point of a contender's grid.

    Attributes:
        name: Of the contender.
        options: Those that are chosen, as on the command line.
        overrides: All.
    """

    name: str
    options: tuple[str, ...]
    overrides: tuple[str, ...]

    @cached_property
    def spec(self) -> RunSpec:
        """The run; inside `initialize_config_dir`."""
        return RunSpec.of(composed(self.overrides))

    def line(self, stage: Stage) -> dict[str, Any]:
        """Make the trial. Return its line of the log."""
        rows = list(stage.rows())
        about = {"trial": self.spec.run_id, "contender": self.name, "options": self.options}
        return about | {"numbers": numbers_of(stage, rows)}


def trials_of(search: Search, overrides: Sequence[str]) -> list[Trial]:
    """Return all trials, checked before any is made.

    Raises:
        ConfigError: A contender has more than there may be, or its options are none of the method's.
    """
    found = []
    for name, each in search.contenders.items():
        start = ["scale.samples=null", "scale.train_images=100", *each.given]
        jobs = jobs_of(["-m", *start, *overrides, *each.grid])
        keys = {option.partition("=")[0] for option in each.grid}
        if len(jobs) > search.trials:
            raise ConfigError(
                f"{name}: {len(jobs)} trials, must be at most {search.trials}, as of every method"
            )
        for job in jobs:
            trial = Trial(name, tuple(word for word in job if word.partition("=")[0] in keys), tuple(job))
            if trial.spec.probe is not None:
                raise ConfigError(f"{name}: probe: only corrections are looked at here; use probe=null")
            found.append(trial)
    return found


def numbers_of(stage: Stage, rows: Sequence[Row]) -> dict[str, float]:
    """Return what a trial came to. Accuracies and shares are in %, their changes in points."""
    baseline = stage.bystanders.baseline
    done = [row for row in rows if row.outcome == CORRECTED]
    untouched = 100 * np.array([row.side_effects.untouched_right for row in done]) / baseline.untouched_images
    changed = [row.l0 for row in done] or [0]
    found = {
        "samples": len(rows),
        "correct": 100 * float(np.mean([row.outcome != UNCORRECTED for row in rows])),
        "changed_median": float(np.median(changed)),
        "changed_max": float(max(changed)),
        "seconds": float(np.mean([row.search_seconds for row in rows])),
    }
    if not done:
        return found | {"score": NOTHING}
    if stage.setting.accumulate:
        return found | _in_a_row(rows[-1], float(untouched[-1]))
    change = untouched - 100 * baseline.untouched_right / baseline.untouched_images
    return found | _alone(done, change)


def _in_a_row(last: Row, untouched: float) -> dict[str, float]:
    state = last.accumulated
    assert state is not None, "corrections accumulated"
    retention = 100 * state.earlier_right / state.earlier if state.earlier else 100.0
    return {"untouched": untouched, "retention": retention, "score": untouched + retention}


def _alone(rows: Sequence[Row], change: NDArray[np.float64]) -> dict[str, float]:
    """Return the numbers of single corrections, with the change of untouched accuracy by each, in points."""
    worst = np.sort(change)[: max(1, round(WORST * len(change)))]
    kinds = {}
    for kind in GENERAL:
        counts = np.sum([getattr(row.generality, kind) for row in rows], axis=0)
        kinds[kind] = 100 * float(counts[2] / counts[0])
    return {"mean": float(change.mean()), "worst": float(change.min()), "score": float(worst.mean()), **kinds}


def chosen(search: Search, lines: Sequence[Line]) -> dict[str, Line]:
    """Return the best trial of each contender that has any, by the rule."""
    found = {}
    for name, contender in search.contenders.items():
        if own := [line for line in lines if line["contender"] == name]:
            found[name] = max(own, key=lambda line: contender.merit(line["numbers"]))
    return found


def report(search: Search, lines: Sequence[Line]) -> str:
    """Return the chosen options as yaml, and every contender's best trial as tables, one a setting."""
    best = chosen(search, lines)
    options = {name: list(line["options"]) for name, line in best.items()}
    parts = [yaml.safe_dump(options, sort_keys=False, width=200)]
    for columns in (ALONE, IN_A_ROW):
        own = {name: line for name, line in best.items() if columns[-1] in line["numbers"]}
        cells = []
        for name, line in own.items():
            count = sum(each["contender"] == name for each in lines)
            shown = (f"{line['numbers'][column]:.4g}" for column in columns)
            cells.append([name, " ".join(line["options"]), str(count), *shown])
        if cells:
            parts.append(markdown(["contender", "options", "trials", *columns], cells, texts=2))
    return "\n".join(parts)


def read_log(path: Path) -> list[Line]:
    """Read the lines of a log; one that was cut off is no line."""
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(text))
        except json.JSONDecodeError:
            log.warning("%s: a line that was cut off is left out: its trial is made again", path)
    return found


def plan(todo: Sequence[Trial], lines: Sequence[Line]) -> str:
    """Return in a sentence what is to be done, and how long that takes by what the log says of such trials."""
    known = {line["contender"]: line["seconds"] for line in lines}
    seconds = sum(known.get(trial.name, 0.0) for trial in todo)
    unknown = len({trial.name for trial in todo} - set(known))
    said = f"{len(todo)} trials to be made, {len(lines)} in the log; about {seconds / 60:.0f} min"
    return said + (f" and what {unknown} contenders take that have none there" if unknown else "")


def main(arguments: list[str]) -> int:
    """Make the trials that the log lacks and print what is chosen. Return the exit status."""
    return ended(lambda: _command(arguments), (*REFUSALS, DataError))


def _command(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__), formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="of Hydra, for every trial, as network=mlp")
    parser.add_argument("--grid", type=Path, default=GRID, help="the yaml with the contenders")
    parser.add_argument("--log", type=Path, default=LOG, help="where lines are appended")
    parser.add_argument("--only", nargs="+", default=(), help="contenders, by name")
    parser.add_argument("--report", action="store_true", help="make no trial")
    options = parser.parse_intermixed_args(arguments)
    log_to_console()
    search = Search.read(options.grid, options.only)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        trials = trials_of(search, options.overrides)
        asked = {trial.spec.run_id for trial in trials}
        lines = [line for line in read_log(options.log) if line["trial"] in asked]
        if not options.report:
            _make(trials, lines, options.log)
    print(report(search, lines))
    return 0


def _make(trials: Sequence[Trial], lines: list[Line], path: Path) -> None:
    """Make the trials that have no line yet, and append one for each to the log and to `lines`."""
    done = {(line["contender"], line["trial"]) for line in lines}
    todo = [trial for trial in trials if (trial.name, trial.spec.run_id) not in done]
    log.info("plan: %s", plan(todo, lines))
    path.parent.mkdir(parents=True, exist_ok=True)
    bench, key, began = None, "", time.perf_counter()
    with path.open("a", encoding="utf-8") as file:
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            file.write("\n")
        for count, trial in enumerate(todo):
            spec, place = prepared(composed(trial.overrides))
            if bench is None or key != spec.bench_id:
                with every_core():
                    bench, key = HeldOut(spec, place), spec.bench_id
            started = time.perf_counter()
            stage = bench.stage(spec)
            assert isinstance(stage, Stage)
            line = trial.line(stage) | {"seconds": round(time.perf_counter() - started, 1)}
            file.write(compact(line) + "\n")
            file.flush()
            lines.append(line)
            left = (time.perf_counter() - began) / (count + 1) * (len(todo) - count - 1)
            told = " ".join((trial.name, *trial.options))
            log.info(
                "%d of %d, about %.0f min left: %s: %s",
                count + 1,
                len(todo),
                left / 60,
                told,
                line["numbers"],
            )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
