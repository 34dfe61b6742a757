"""What a probe gets and what it gives back."""

from typing import Any, Protocol

from bgd.evaluation import Evaluator
from bgd.methods.base import Sample, Trial


class Probe(Protocol):
    """Something to measure at a misclassified sample. A frozen dataclass: its fields are its parameters."""

    def measure(self, trial: Trial, sample: Sample, evaluator: Evaluator) -> dict[str, list[Any]]:
        """Measure and return columns of plain values, as `experiments.records.schema.Measurement.values` keeps them.

        Args:
            trial: A copy of N0 to try on. The caller undoes whatever is done to it.
            sample: The sample, which N0 gets wrong.
            evaluator: Evaluates edits of N0.
        """
        ...
