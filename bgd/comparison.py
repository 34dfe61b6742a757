"""A model with and without a patch, input by input: what changed, in numbers, in words and against bounds.

An input with a logit that is not finite has no class: arg-max of it would be a matter of chance. No class counts as one
of its own, -1. To come to it, or from it, is a flip; it is never right; its loss counts as infinite.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from bgd.bounds import allowed
from bgd.evaluation import MarginEvaluation
from bgd.markdown import markdown

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
NO_CLASS = -1
NAMED = 3  # kinds of flips that the paragraph names


class Transition(NamedTuple):
    """How many inputs go from one class to another."""

    before: int
    after: int
    inputs: int


@dataclass(frozen=True, eq=False)
class Effects:
    """A model on N inputs, with a patch and without.

    Attributes:
        before, after: Loss, class and margin of each input.
        labels: The classes that losses, margins and accuracies are of (N,).
        labelled: Whether they are the right ones; if not they are the model's own before the patch.
        classes: The name of each class; empty for numbers alone.
    """

    before: MarginEvaluation
    after: MarginEvaluation
    labels: torch.Tensor
    labelled: bool = True
    classes: Sequence[str] = ()

    @classmethod
    def cat(cls, parts: Sequence["Effects"]) -> "Effects":
        """Return the effects on several lots of inputs, one after the other."""
        return replace(
            parts[0],
            before=MarginEvaluation.cat([each.before for each in parts]),
            after=MarginEvaluation.cat([each.after for each in parts]),
            labels=torch.cat([each.labels for each in parts]),
        )

    def __len__(self) -> int:
        """Number of inputs."""
        return len(self.labels)

    @property
    def flipped(self) -> torch.Tensor:
        """Numbers of the inputs whose class is another one (k,)."""
        return _where(self.before.predictions != self.after.predictions)

    @property
    def broken(self) -> torch.Tensor:
        """Numbers of the inputs that were right and are wrong (k,)."""
        was, stays = self._right
        return _where(was & ~stays)

    @property
    def fixed(self) -> torch.Tensor:
        """Numbers of the inputs that were wrong and are right (k,)."""
        was, stays = self._right
        return _where(~was & stays)

    @property
    def transitions(self) -> list[Transition]:
        """Flips by the classes that they lead from and to, the commonest first."""
        which = self.flipped
        pairs = zip(
            self.before.predictions[which].tolist(), self.after.predictions[which].tolist(), strict=True
        )
        counted = sorted(Counter(pairs).items(), key=lambda item: (-item[1], item[0]))
        return [Transition(*pair, count) for pair, count in counted]

    @property
    def accuracy(self) -> tuple[float, float]:
        """Share of the inputs that are right, in [0, 1], before and after."""
        was, now = (int(each.sum()) / len(self) for each in self._right)
        return was, now

    @property
    def agreement(self) -> float:
        """Share of the inputs that keep their class, in [0, 1]."""
        return (len(self) - len(self.flipped)) / len(self)

    @property
    def loss_change(self) -> torch.Tensor:
        """Rise of each input's loss, in nats (N,); infinite where it gets or loses its class."""
        before, after = (
            each.losses.where(each.predictions != NO_CLASS, torch.inf) for each in (self.before, self.after)
        )
        return (after - before).where(after != before, 0.0)

    @property
    def margin_change(self) -> torch.Tensor:
        """Rise of the lead of each input's label over every other class, in logits (N,); infinite as for the loss."""
        before, after = (
            each.margins.where(each.predictions != NO_CLASS, -torch.inf) for each in (self.before, self.after)
        )
        return (after - before).where(after != before, 0.0)

    def loss_quantiles(self) -> dict[float, float]:
        """Return quantiles 0, 0.05, 0.5, 0.95 and 1 of the change in loss over the inputs, in nats; 1 is the worst.

        Each is the change of some input: nothing lies between two of them.
        """
        return _quantiles(self.loss_change)

    def margin_quantiles(self) -> dict[float, float]:
        """Return the same quantiles of the change in margin, in logits; 0 is the worst."""
        return _quantiles(self.margin_change)

    def within(self, max_flips: float | None = None, max_drop: float | None = None) -> str:
        """Return a sentence that refuses the patch; an empty one where it keeps to the bounds.

        Args:
            max_flips: Inputs that may change class: a whole number counts them, any other is a share of all, in [0, 1].
            max_drop: Accuracy that may be lost, in [0, 1]. Without labels it is agreement with the unpatched model.

        Raises:
            ConfigError: A bound is out of range.
        """
        flips, inputs = len(self.flipped), len(self)
        lost = len(self.broken) - len(self.fixed) if self.labelled else flips
        most_flips = inputs if max_flips is None else allowed("max_flips", max_flips, inputs, counts=True)
        most_lost = inputs if max_drop is None else allowed("max_drop", max_drop, inputs)
        if flips > most_flips:
            return f"{self._counts()}, and max_flips={max_flips} allows {most_flips:,}: {self._commonest()}"
        if lost <= most_lost:
            return ""
        before, after = self.accuracy if self.labelled else (1.0, self.agreement)
        what = "accuracy" if self.labelled else "agreement with the unpatched model"
        return (
            f"{what} falls from {before:.4f} to {after:.4f}, by {lost:,} of {inputs:,} inputs, and "
            f"max_drop={max_drop} allows {most_lost:,}"
        )

    def name(self, label: int) -> str:
        """Return the name of a class, its number where it has none."""
        if label == NO_CLASS:
            return "no class"
        return str(self.classes[label]) if self.classes else f"{label}"

    def table(self) -> str:
        """Write a line for each kind of flip, the commonest first, as a table in Markdown."""
        rows = [(self.name(before), self.name(after), count) for before, after, count in self.transitions]
        return markdown(("from", "to", "inputs"), rows)

    def words(self) -> str:
        """Write a paragraph for people: flips, accuracy, change of loss and margin, what has no class."""
        flips = self._commonest()
        sentences = [self._counts() + (f": {flips}" if flips else ""), self._outcome(), *self._changes()]
        without = [len(_where(each.predictions == NO_CLASS)) for each in (self.before, self.after)]
        if any(without):
            sentences.append(
                f"{without[1]:,} {_inputs(without[1])} with the patch and {without[0]:,} without it have no class, a "
                "logit being not finite: no class counts as one of its own, as wrong, and as an infinite loss"
            )
        return ". ".join(sentences) + "."

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain numbers, lists and texts, for JSON; None for what is not finite or not known."""
        (was, now), known = self.accuracy, self.labelled
        return {
            "inputs": len(self),
            "labelled": known,
            "flipped": self.flipped.tolist(),
            "transitions": [
                {"from": before, "to": after, "count": count, "words": f"{self.name(before)} to {self.name(after)}"}
                for before, after, count in self.transitions
            ],
            "broken": self.broken.tolist() if known else None,
            "fixed": self.fixed.tolist() if known else None,
            "accuracy": {"before": was, "after": now} if known else None,
            "agreement": self.agreement,
            "loss_change": _described(self.loss_change, int(self.loss_change.argmax())),
            "margin_change": _described(self.margin_change, int(self.margin_change.argmin())),
            "no_class": {
                "before": int((self.before.predictions == NO_CLASS).sum()),
                "after": int((self.after.predictions == NO_CLASS).sum()),
            },
        }  # fmt: skip

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each input whose class is another one, as a pandas DataFrame.

        Its columns: `input` (its number), `label`, `before`, `after`, `loss_change`, in nats, and `margin_change`, in
        logits.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("to_frame gives a pandas DataFrame: pip install pandas") from error
        which = self.flipped
        columns = {
            "input": which,
            "label": self.labels[which],
            "before": self.before.predictions[which],
            "after": self.after.predictions[which],
            "loss_change": self.loss_change[which],
            "margin_change": self.margin_change[which],
        }
        return pd.DataFrame({name: values.tolist() for name, values in columns.items()})

    def __str__(self) -> str:
        return f"{self._counts()}; {self._outcome()}"

    @property
    def _right(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Whether each input is right (N,), before and after."""
        return self.before.predictions == self.labels, self.after.predictions == self.labels

    def _counts(self) -> str:
        return f"{len(self.flipped):,} of {len(self):,} inputs change class"

    def _outcome(self) -> str:
        if not self.labelled:
            return f"{100 * self.agreement:.4g} % keep the model's own class"
        before, after = self.accuracy
        return (
            f"{len(self.broken):,} from right to wrong, {len(self.fixed):,} from wrong to right, accuracy "
            f"{before:.4f} to {after:.4f}"
        )

    def _commonest(self) -> str:
        """In words, the commonest kinds of flips and how many there are besides."""
        found = self.transitions
        named = [
            f"{count:,} from {self.name(before)} to {self.name(after)}"
            for before, after, count in found[:NAMED]
        ]
        rest = sum(each.inputs for each in found[NAMED:])
        return ", ".join(named) + (f" and {rest:,} in other ways" if rest else "")

    def _changes(self) -> list[str]:
        """In words, the change of loss and of margin."""
        loss, margin = self.loss_quantiles(), self.margin_quantiles()
        whose = "right class" if self.labelled else "model's own class"
        return [
            f"The loss changes by {loss[0.5]:+.3g} nats at the median, {loss[0.95]:+.3g} at the 95th percentile and "
            f"{loss[1.0]:+.3g} at worst (input {int(self.loss_change.argmax()):,})",
            f"The lead of the {whose} over the others changes by {margin[0.5]:+.3g} logits at the median, "
            f"{margin[0.05]:+.3g} at the 5th percentile and {margin[0.0]:+.3g} at worst (input "
            f"{int(self.margin_change.argmin()):,})",
        ]


def _where(mask: torch.Tensor) -> torch.Tensor:
    return mask.nonzero().flatten()


def _quantiles(values: torch.Tensor) -> dict[float, float]:
    """Return the smallest value that a share of them does not exceed, for each of `QUANTILES`."""
    ordered = values.sort().values
    return {share: float(ordered[max(0, math.ceil(share * len(ordered)) - 1)]) for share in QUANTILES}


def _described(change: torch.Tensor, worst: int) -> dict[str, Any]:
    quantiles = {f"{share:g}": _finite(value) for share, value in _quantiles(change).items()}
    return {"quantiles": quantiles, "worst": _finite(float(change[worst])), "worst_input": worst}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _inputs(count: int) -> str:
    return "input" if count == 1 else "inputs"
