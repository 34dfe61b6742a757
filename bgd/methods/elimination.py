"""Approximate Idealized Subset Selector (Algorithm 1, section 3.1): backward elimination, one parameter after another.

Whether the second parameter can go depends on whether the first one went. The answers are therefore guessed first, all
networks that the algorithm would look at if the guesses are right are looked at in one batch, and what follows the
first wrong guess is done again. The outcome is the algorithm's, whatever is guessed.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch

from bgd.methods.base import Answer, Sample
from bgd.methods.glimpse import Edits, Glimpse
from bgd.methods.layers import Booleans, Integers

Floats = np.ndarray[Any, np.dtype[np.float64]]
LARGEST = 256  # parameters in a batch: each row holds the edits of the rows before it
SMALLEST = 16


class Elimination:
    """Puts parameters back, in order; each stays back where the sample stays right.

    Args:
        glimpse: A network that gets the sample right. It ends as the network with the final subset.
        sample: The sample.
        indices: Flat indices of the parameters to go through, in order (m,).
        restored: The values to put back (m,), in the network's type.
        gradient: Gives the gradient of the sample's margin (|W|,) for the network at hand, to guess from; None to
            guess that every parameter can go.
        least: The least margin of the label's logit over the others that counts as right.
    """

    def __init__(
        self,
        glimpse: Glimpse,
        sample: Sample,
        indices: Integers,
        restored: torch.Tensor,
        gradient: Callable[[], torch.Tensor] | None = None,
        least: float = 0.0,
    ) -> None:
        self._glimpse, self._sample = glimpse, sample
        self._indices, self._restored, self._gradient = indices, restored, gradient
        self._gone = np.zeros(len(indices), dtype=bool)
        self._least = least
        self._effects = self._linear_effects()

    def run(self) -> Booleans:
        """Return which of the parameters are back at the restored value (m,)."""
        place, reach = 0, min(LARGEST, max(SMALLEST, len(self._indices)))
        while place < len(self._indices):
            window = np.arange(place, min(place + reach, len(self._indices)))
            done = self._window(window)
            if done == len(window):
                reach = min(LARGEST, 2 * reach)
            else:
                reach = max(SMALLEST, min(reach, 2 * done))
                self._effects = self._linear_effects()
            place += done
        return self._gone

    def _linear_effects(self) -> Floats | None:
        """Return the change of the margin by restoring each parameter, to first order (m,)."""
        if self._gradient is None:
            return None
        where = torch.from_numpy(self._indices).to(self._restored.device)
        change = self._restored - self._glimpse.flat[where]
        return cast(Floats, (change * self._gradient()[where]).double().cpu().numpy())

    def _guess(self, window: Integers) -> Booleans:
        """Return which parameters of the window will go."""
        if self._effects is None:
            return np.ones(len(window), dtype=bool)
        margin, guesses = float(margins(self._glimpse.logits, self._sample)[0]) - self._least, []
        for effect in self._effects[window].tolist():
            guesses.append(margin + effect > 0)
            margin += effect if guesses[-1] else 0.0
        return np.array(guesses)

    def _edits(self, window: Integers, guess: Booleans) -> Edits:
        """Return the networks the algorithm looks at: what went before a parameter is back, and the parameter."""
        back = np.tril(np.broadcast_to(guess, (len(window), len(window))), -1)
        rows, columns = np.nonzero(back | np.eye(len(window), dtype=bool))
        chosen = window[columns]
        return Edits(len(window), rows, self._indices[chosen], self._restored[torch.from_numpy(chosen)])

    def _window(self, window: Integers) -> int:
        """Go through the parameters of a window as far as the guesses are right; return how many are done."""
        guess = self._guess(window)
        looks = self._glimpse.of(self._edits(window, guess))
        found = margins(looks, self._sample).double().cpu().numpy() - self._least
        rounding = 2 * self._glimpse.slack  # a margin is of two logits
        clear = np.abs(found) > rounding  # never where it is NaN
        wrong = np.flatnonzero(~(clear & ((found > 0) == guess)))
        good = int(wrong[0]) if len(wrong) else len(window)
        if not self._restore(window[:good][guess[:good]]):
            for place in range(good):  # rounding was worse than the slack: trust the network alone
                self._restore(window[place : place + 1])
        if good < len(window) and not (clear[good] and found[good] < 0):
            self._restore(window[good : good + 1])
        return min(good + 1, len(window))

    def _restore(self, places: Integers) -> bool:
        """Put parameters back; undo it where the network then says that the sample is wrong, and return False."""
        indices = torch.from_numpy(self._indices[places]).to(self._restored.device)
        before = self._glimpse.flat[indices]
        logits = self._glimpse.move(indices, self._restored[torch.from_numpy(places)])
        margin = float(margins(logits, self._sample))
        right = Answer.of(logits, self._sample).right and margin >= self._least
        if not right:
            self._glimpse.move(indices, before)
        self._gone[places] = right
        return right


def margins(logits: torch.Tensor, sample: Sample) -> torch.Tensor:
    """Return by how much the logit of a sample's label is above the largest other one (B,), for logits (B, C)."""
    logits, label = sample.judged(logits), int(sample.label)
    others = logits.clone()
    others[:, label] = -float("inf")
    return logits[:, label] - others.amax(dim=1)
