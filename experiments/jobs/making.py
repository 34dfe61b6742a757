"""Making runs in as many processes as there are jobs: each N0 first, which they share."""

from collections.abc import Sequence
from dataclasses import replace

from experiments.config.spec import RunSpec
from experiments.jobs.costs import Kind
from experiments.jobs.process import every_core, prepare, shared_memory
from experiments.jobs.progress import Progress
from experiments.jobs.workbench import Place, Workbench
from experiments.jobs.workers import run_all


def make(runs: Sequence[RunSpec], place: Place, jobs: int, costs: dict[Kind, float]) -> list[str]:
    """Make runs, in the order given; return the titles of those that failed.

    Args:
        runs: That are not complete.
        place: Where.
        jobs: Processes, each with `place.threads` threads.
        costs: Seconds that a sample takes, by kind, to tell how long the rest takes.
    """
    prepare()
    with every_core():  # trains N0 before the workers share them
        for spec in {spec.base_id: spec for spec in runs}.values():
            Workbench(spec, place)
    with shared_memory(jobs, place.memory) as shared:
        shared_place = replace(place, jobs=jobs, shared=shared)
        return run_all(list(runs), shared_place, Progress(runs, place.output, costs).say)
