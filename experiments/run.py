"""One run, or with `-m` a sweep.

python -m experiments.run network=mlp method=bgd_ii setting=reloading seed=0
"""

import logging
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig

from bgd.build import ConfigError, convert, nearest
from bgd.data import DataError
from bgd.metrics import METRICS, measure
from bgd.records import Measurement, RecordError, Run
from bgd.report.frames import build_frames
from bgd.report.numbers import format_summary
from experiments.execute import execute, outcome, store_of
from experiments.process import budget, every_core, prepare
from experiments.spec import RunSpec
from experiments.stale import rerun_of
from experiments.workbench import Place, Workshop, choose_device

log = logging.getLogger(__name__)

CONF = Path(__file__).parents[1] / "conf"
GROUPS = ("network", "method", "setting", "probe", "variant", "profile", "experiment")


def place_of(config: DictConfig) -> Place:
    """Return where a configuration runs, and prepare this process for it."""
    threads = config.threads
    count = os.cpu_count() or 1 if threads == "auto" else convert(threads, int, "threads")
    if count < 1:
        raise ConfigError(f"threads={count}: must be at least 1")
    prepare(count)
    data, output = Path(config.data_dir), Path(config.output_dir)
    return Place(data, output, choose_device(config.device), count, budget(config.memory))


def check_choices(arguments: list[str]) -> None:
    """Check the group choices on a command line before Hydra does, to name the nearest valid one.

    Raises:
        ConfigError: A choice does not exist.
    """
    for argument in arguments:
        group, equals, choices = argument.partition("=")
        if group not in GROUPS or not equals or "(" in choices:
            continue
        known = [path.stem for path in (CONF / group).glob("*.yaml")]
        for choice in choices.split(","):
            if choice not in (*known, "null"):
                raise ConfigError(f"{group}={choice!r}: there is no such {group}; {nearest(choice, known)}")


def summary(run: Run) -> str:
    """Return a run's metrics in a line each, as in the tables; of a probe, the means of what it measured."""
    first = f"{run.header.run_id}: {outcome(run.rows or run.measurements)}"
    if run.measurements:
        return "\n".join([first, *_means(run.measurements)])
    samples = build_frames([run]).samples
    lines = [first]
    for metric in METRICS.values():
        if metric.setting in (None, run.header.spec["setting"]["name"]):
            lines.append(f"  {metric.label:26} {format_summary(measure(samples, metric))}")
    return "\n".join(lines)


def _means(measurements: Sequence[Measurement]) -> Iterator[str]:
    """Yield the mean of each column that holds numbers, over every sample and place."""
    for name in measurements[0].values:
        numbers = [x for one in measurements for x in one.values[name] if isinstance(x, (int, float))]
        if numbers:
            yield f"  {name:32} mean {statistics.fmean(numbers):.4g} of {len(numbers)} values"


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def run(config: DictConfig) -> None:
    """Run one configuration."""
    try:
        spec, place, anew = RunSpec.of(config), place_of(config), rerun_of(config.rerun)
        workshop = Workshop(place)
        with every_core():
            workshop.bench(spec)  # trains N0, as `make reproduce` does
        execute(spec, workshop, anew)
        print(summary(store_of(place.output).read(spec.run_id)))
    except (ConfigError, DataError, RecordError) as error:
        raise SystemExit(f"error: {error}") from error


def main() -> None:
    """Check the command line, then let Hydra compose and run."""
    try:
        check_choices(sys.argv[1:])
    except ConfigError as error:
        raise SystemExit(f"error: {error}") from error
    run()


if __name__ == "__main__":
    main()
