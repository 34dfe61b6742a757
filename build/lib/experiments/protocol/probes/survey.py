"""A probe put to each sample: the counterpart of a setting for runs that correct nothing."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bgd.methods.base import Problem, Sample
from experiments.protocol.figures import Summaries
from experiments.protocol.probes.base import Probe
from experiments.records.schema import Measurement


@dataclass
class Survey:
    """A run of measurements under way. N0 stays as it is.

    Attributes:
        probe: What is measured.
        problem: Holds N0.
        summaries: Of N0 and of edits of it.
        samples: The samples, in their fixed order.
    """

    probe: Probe
    problem: Problem
    summaries: Summaries
    samples: Sequence[Sample]

    def rows(self, done: Sequence[object] = ()) -> Iterator[Measurement]:
        """Measure each sample but the first `len(done)`, which an earlier attempt did, and yield what it found."""
        for position in range(len(done), len(self.samples)):
            sample, started = self.samples[position], time.perf_counter()
            with self.problem.trying() as trial:
                values = self.probe.measure(trial, sample, self.summaries)
            seconds = round(time.perf_counter() - started, 6)
            yield Measurement(position, sample.index, int(sample.label), seconds, values)

    def retained(self) -> None:
        """Nothing is retained where nothing is learnt."""
        return None
