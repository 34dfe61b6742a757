"""A method of one's own: an object with `correct`, used as any other and next to them.

python examples/own_method.py [FOLDER]
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from digits import errors, trained

import bgd
from bgd.methods.base import Sample, Trial


@dataclass(frozen=True)
class SignSteps:
    """Moves the parameters of the largest gradient by equal steps against its sign, until the sample is right.

    Attributes:
        count: Of parameters.
        step: How far each is moved at a time.
        steps: At most.
    """

    count: int = 5
    step: float = 0.05
    steps: int = 100

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> bgd.Correction:
        """Write to `trial.flat`, all parameters in a row, and ask; whatever is written is undone afterwards."""
        gradient = trial.gradient(sample)
        chosen = gradient.abs().topk(self.count).indices
        trial.altered = chosen  # no more than these: quicker to undo
        for step in range(1, self.steps + 1):
            trial.flat[chosen] -= self.step * gradient[chosen].sign()
            if trial.answer(sample).right:
                return bgd.Correction(trial.patch(), altered=self.count, steps=step)
        return bgd.Correction.failed(f"wrong after {self.steps} steps", self.steps)


folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())
folder.mkdir(parents=True, exist_ok=True)
model, digits = trained()
wrong, labels = errors(model, digits)
fix = bgd.correct(model, wrong[:1], int(labels[0]), SignSteps())
print(
    f"{fix.steps} steps, {fix.forward_passes} forward passes, reason: {fix.reason or 'none, it is corrected'}."
)
print(bgd.effects(model, fix, *digits.test.tensors()).words())

# Goals hold for it as for every method, and so does whatever takes a method.
sure = bgd.correct(model, wrong[:1], int(labels[0]), SignSteps(), goal=bgd.Goal(probability=0.9))
print(f"\nWith a probability of 0.9: {sure.steps} steps.")
methods = {"output_bias": bgd.METHODS["output_bias"](), "bgd_ii": bgd.METHODS["bgd_ii"]()}
own = {f"sign_steps, {count}": SignSteps(count) for count in (1, 5, 25)}
found = bgd.frontier(model, wrong[:8], labels[:8], held_out=digits.test.tensors(), methods=own | methods)
found.figure(folder / "frontier.png")
print(f"\n{found}\nThe same as a picture: {folder / 'frontier.png'}.")
