"""The samples themselves, and what N0 says of them: what a gallery of corrections begins with."""

from dataclasses import dataclass
from typing import Any

from bgd.methods.base import Trial
from experiments.protocol.figures import Summaries
from experiments.protocol.samples import Digit
from experiments.records.schema import finite

VERSION = 1  # raised whenever the same sample may give other values


@dataclass(frozen=True)
class Portraits:
    """Each sample's pixels and N0's logits.

    Columns: `pixels`, row by row from 0 (background) to 255, and `logits`, a value per class to 6 digits.
    """

    def measure(self, trial: Trial, sample: Digit, summaries: Summaries) -> dict[str, list[Any]]:
        """Measure; see `Probe.measure`."""
        pixels = ((sample.image[0, 0].double() * sample.std + sample.mean) * 255).round().clamp(0, 255)
        return {
            "pixels": pixels.int().flatten().tolist(),
            "logits": [finite(float(f"{x:.6g}")) for x in trial.logits(sample)[0].tolist()],
        }
