"""Public bugs as a benchmark: `python -m experiments.public_bugs [key=value ...]`.

Fetches pinned packages, does what is not done, then writes the records, the table and the figure.
"""

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bgd.errors import ConfigError, first_line
from experiments.config.groups import CONF, FILES
from experiments.jobs.ending import ended
from experiments.public_bugs.plan import Settings, done
from experiments.public_bugs.work import work
from experiments.records.public_bugs import COMMITTED, write_rows
from experiments.report.build import write_all
from experiments.report.public_bugs import PublicBugs

CONFIG = "experiment/public_bugs"


def settings_of(overrides: Sequence[str]) -> Settings:
    """Compose the configuration.

    Raises:
        ConfigError: It is not one.
    """
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config: Any = OmegaConf.to_container(compose(CONFIG, list(overrides)), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(first_line(error)) from error
    config.pop(FILES, None)
    return Settings.of(config)


def apart(function: Callable[..., None], *arguments: Any) -> int:
    """Call a function in a process of its own, which ends with this one. Return its exit status."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments, daemon=True)
    process.start()
    try:
        process.join()
    finally:
        process.terminate()
    return process.exitcode or 0


def command(overrides: Sequence[str]) -> int:
    """Do what a command line asks for. Return the exit status."""
    settings = settings_of(overrides)
    jobs = list(settings.jobs())
    there = {} if settings.rerun else done(settings, jobs)
    todo = [job for job in jobs if job.id not in there]
    print(f"{len(jobs)} jobs, {len(jobs) - len(todo)} of them done", flush=True)
    failed = []
    for package, its_jobs in groupby(todo, lambda job: job.package):
        if apart(work, package, list(its_jobs), settings):
            failed.append(f"{package} is not complete")
    found = done(settings, jobs)
    rows = [found[job.id] for job in jobs if job.id in found]
    output = Path(settings.output_dir)
    records = output / COMMITTED.relative_to(COMMITTED.parents[1])
    write_rows(records, rows)
    for path in write_all(output, PublicBugs(records=records).files(())):
        print(f"wrote {path}")
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(ended(lambda: command(sys.argv[1:])))
