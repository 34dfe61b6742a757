"""A worker: goes through runs, or parts of runs, and makes those that nobody else has made or is making.

Any number of them, on any number of machines that share the output folder, do a plan together: the store's claims keep
two from making the same run. One that is killed leaves its rows and its run to whoever comes next.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.config.spec import RunSpec
from experiments.jobs.ending import ends_everything
from experiments.jobs.execute import execute, store_of
from experiments.jobs.process import prepare
from experiments.jobs.workbench import Place, Workbenches
from experiments.records.files import BusyError
from experiments.records.schema import NON_RELOADING, subject
from experiments.records.shards import Shard
from experiments.records.store import Store


@dataclass(frozen=True)
class Task:
    """A run, or a part of one.

    Attributes:
        spec: The run.
        shard: Its part; None for all of it.
    """

    spec: RunSpec
    shard: Shard | None = None

    def is_over(self, store: Store) -> bool:
        """Return whether there is nothing to do any more: it is complete, or has failed."""
        run_id = self.spec.run_id
        if store.finished(run_id) or store.failed(run_id):
            return True
        if self.shard is None:
            return False
        parts, names = store.parts(run_id), [shard.name for shard in Shard.every(self.shard.count)]
        # Where every part is complete and the run is not, a process was killed before it merged them.
        return parts.finished(self.shard.name) and not all(parts.finished(name) for name in names)

    def is_claimed(self, store: Store) -> bool:
        """Return whether a process is at it."""
        claim = store.claims(self.spec.run_id).get(self.shard.name if self.shard else "")
        return claim is not None and claim.alive


def tasks_of(specs: Sequence[RunSpec], shards: int) -> Iterator[Task]:
    """Yield runs as tasks, in order, those whose samples do not depend on each other in so many shards."""
    for spec in specs:
        whole = shards == 1 or subject(spec.identity)[1] == NON_RELOADING
        yield from [Task(spec)] if whole else (Task(spec, shard) for shard in Shard.every(shards))


def work(tasks: Sequence[Task], place: Place, config: object = None) -> None:
    """Make what nobody else makes, once through; what fails is kept in the store and left alone from then on.

    Args:
        tasks: In the order to make them.
        place: Where.
        config: Of the launcher's job; a launcher gives one, and nothing in it matters here.
    """
    prepare(place.threads)
    store, workbenches = store_of(place.output), Workbenches(place)
    for task in tasks:
        if task.is_over(store):
            continue
        try:
            execute(task.spec, workbenches, shard=task.shard)
        except BusyError:  # another worker's
            pass
        except Exception as error:
            if ends_everything(error):
                raise
