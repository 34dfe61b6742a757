"""What a probe gets and what it gives back."""

from typing import Any, Protocol

from bgd.methods.base import Sample, Trial
from experiments.protocol.figures import Summaries


class Probe(Protocol):
    """Something to measure at a misclassified sample. A frozen dataclass: its fields are its parameters."""

    def measure(self, trial: Trial, sample: Sample, summaries: Summaries) -> dict[str, list[Any]]:
        """Measure and return columns of plain values, as `experiments.records.schema.Measurement.values` keeps them.

        Args:
            trial: A copy of N0 to try on. The caller undoes whatever is done to it.
            sample: The sample, which N0 gets wrong.
            summaries: Of N0 and of edits of it.
        """
        ...
