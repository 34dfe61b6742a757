"""Making runs, each N0 first, which they share: in processes of this command, or by a launcher's workers."""

from collections.abc import Sequence
from dataclasses import replace

from experiments.config.spec import RunSpec
from experiments.jobs.costs import Kind
from experiments.jobs.launching import Starter, launch
from experiments.jobs.process import every_core, prepare, shared_memory
from experiments.jobs.progress import Progress
from experiments.jobs.work import tasks_of
from experiments.jobs.workbench import Place, Workbench
from experiments.jobs.workers import run_all


def make(
    runs: Sequence[RunSpec],
    place: Place,
    jobs: int,
    costs: dict[Kind, float],
    launcher: Starter | None = None,
    shards: int = 1,
) -> list[str]:
    """Make runs, in the order given; return the titles of those that failed.

    Args:
        runs: That are not complete.
        place: Where.
        jobs: Processes, each with `place.threads` threads.
        costs: Seconds that a sample takes, by kind, to tell how long the rest takes.
        launcher: Starts as many workers; None for processes of this one.
        shards: Parts that workers make each run in whose samples do not depend on each other.
    """
    prepare()
    with every_core():  # trains N0 before the workers share them
        for spec in {spec.base_id: spec for spec in runs}.values():
            Workbench(spec, place)
    if launcher:
        tasks = list(tasks_of(runs, shards))
        return launch(tasks, replace(place, jobs=jobs), launcher, costs)
    with shared_memory(jobs, place.memory) as shared:
        shared_place = replace(place, jobs=jobs, shared=shared)
        return run_all(list(runs), shared_place, Progress(runs, place.output, costs).say)
