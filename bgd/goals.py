"""What a correction has to reach: a label, one of several, a margin, a probability, a rule; and in which arithmetic."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from operator import index
from typing import Any

import torch

from bgd.arithmetic import ARITHMETICS
from bgd.errors import ConfigError, nearest

FAR = 1e3  # logits, and ten times their range: how far below the others a class is put that is no rival
# Logits beyond the least margin, to be tried where the goal asks for more.
STEPS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

Decide = Callable[[Any], Any]


@dataclass(frozen=True)
class Goal:
    """What a correction of a sample has to reach.

    The network has to predict one of `labels`, and what is given besides has to hold as well.

    Attributes:
        labels: Accepted classes; empty for the label alone that the correction is asked for.
        margin: Logits by which the best accepted class has to lead every other one.
        probability: Least probability of the accepted classes together, by softmax; None for no such bound.
        decide: The deployed rule: gets what the model returns for the sample, and says whether that will do, as a
            truth value, or which class it is, as a whole number. Where it is given, arg-max decides nothing.
        where: In which arithmetics all of that has to hold besides the network's own: names of
            `bgd.arithmetic.ARITHMETICS`, or one of them.

    Raises:
        ConfigError: A value is out of range.
    """

    labels: Collection[int] = ()
    margin: float = 0.0
    probability: float | None = None
    decide: Decide | None = None
    where: Collection[str] = ()

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "labels", tuple(sorted({index(label) for label in self.labels})))
        except TypeError:
            raise ConfigError(
                f"goal.labels={self.labels!r}: must be class indices such as {{3, 5}}"
            ) from None
        for key in ("margin", "probability"):
            if not isinstance(getattr(self, key), int | float | None):
                raise ConfigError(f"goal.{key}={getattr(self, key)!r}: must be a number")
        if any(label < 0 for label in self.labels):
            raise ConfigError(f"goal.labels={list(self.labels)}: a class is 0 or more")
        if not 0 <= self.margin < float("inf"):
            raise ConfigError(f"goal.margin={self.margin}: must be 0 or more logits")
        if self.probability is not None and not 0 < self.probability < 1:
            raise ConfigError(f"goal.probability={self.probability}: must be between 0 and 1")
        object.__setattr__(self, "where", arithmetics(self.where, "goal.where"))

    @classmethod
    def of(cls, goal: Any) -> "Goal":
        """Return the goal that a user means: None, accepted labels, a rule, or a goal.

        Raises:
            ConfigError: It is none of these.
        """
        if goal is None:
            return cls()
        if isinstance(goal, Goal):
            return goal
        if callable(goal):
            return cls(decide=goal)
        if isinstance(goal, (set, frozenset, list, tuple)):
            return cls(labels=goal)
        raise ConfigError(
            f"goal={goal!r}: must be accepted labels such as {{3, 5}}, a function of the model's outputs, or a bgd.Goal"
        )

    def met(self, logits: torch.Tensor, label: int, outputs: Callable[[], Any]) -> bool:
        """Return whether the goal is reached.

        Args:
            logits: Of the sample (1, C).
            label: That the correction is asked for.
            outputs: Gives what the model returned, for `decide`.
        """
        if not torch.isfinite(logits).all():
            return False
        accepted = list(self._accepted(label))
        if self.decide is not None:
            said = _said(self.decide(outputs()))
            if not (said if isinstance(said, bool) else said in accepted):
                return False
        elif int(logits.argmax()) not in accepted:
            return False
        if self.margin and _lead(logits[0], accepted) < self.margin:
            return False
        if self.probability is not None:
            return float(logits[0].double().softmax(0)[accepted].sum()) >= self.probability
        return True

    def check(self, classes: int) -> None:
        """Refuse accepted labels that a network of so many classes does not have.

        Raises:
            ConfigError: Names the label.
        """
        if self.labels and max(self.labels) >= classes:
            raise ConfigError(
                f"goal.labels={list(self.labels)}: the classes of the network are 0 to {classes - 1}"
            )

    def target(self, logits: torch.Tensor, label: int) -> int:
        """Return the accepted class that logits (1, C) are nearest to: the one to correct towards."""
        accepted = self._accepted(label)
        return max(accepted, key=lambda each: float(logits[0, each]))

    def lead(self, logits: torch.Tensor, label: int) -> float:
        """Return by how much the best accepted class leads every other one in logits (1, C)."""
        return _lead(logits[0].float(), list(self._accepted(label)))

    def lack(self, logits: torch.Tensor, label: int) -> float:
        """Return by how much the best accepted class in logits (1, C) falls short of leading by the margin, in logits.

        It is 0 where it does, also where something else keeps the goal from being met.
        """
        return max(0.0, self.margin - self.lead(logits, label))

    def offset(self, logits: torch.Tensor, label: int, more: float = 0.0) -> torch.Tensor | None:
        """Return the offset (C,) of the logits to search with; None where none is needed.

        Args:
            logits: Of the sample, before (1, C).
            label: That the correction is asked for.
            more: Logits beyond the margin that is known to be needed.
        """
        target = self.target(logits, label)
        others = [each for each in self._accepted(label) if each != target]
        margin = max(self.margin, self._margin_of_probability(logits[0], target, others)) + more
        if not margin and not others:
            return None
        offset = torch.zeros_like(logits[0])
        most = torch.finfo(logits.dtype).max / 4  # the sum with a logit stays finite
        offset[others] = -min(FAR + 10 * float(logits.max() - logits.min()), most)
        offset[target] = -margin
        return offset

    @property
    def margins(self) -> tuple[float, ...]:
        """Logits beyond the margin that is known to be needed, to be tried one after another until the goal is met.

        The first asks for no more; a rule of one's own, or a probability, may need a larger margin than that.
        """
        return (0.0, *(STEPS if self.decide is not None or self.probability is not None else ()))

    def in_words(self, labels: Collection[int]) -> str:
        """Return the goal of inputs with these labels in a few words."""
        named = ", ".join(map(str, self.labels or labels))
        words = [f"class {named}"]
        words += [f"margin {self.margin:g}"] if self.margin else []
        words += [f"probability {self.probability:g}"] if self.probability is not None else []
        words += ["a rule of one's own"] if self.decide is not None else []
        words += [f"in {', '.join(self.where)}"] if self.where else []
        return "; ".join(words)

    def _accepted(self, label: int) -> tuple[int, ...]:
        return tuple(self.labels) or (label,)

    def _margin_of_probability(self, logits: torch.Tensor, target: int, others: list[int]) -> float:
        """Return the lead at which the probability is reached, if the rivals keep their distances to each other."""
        if self.probability is None:
            return 0.0
        rivals = logits.double().clone()
        rivals[[target, *others]] = -torch.inf
        spread = float(rivals.logsumexp(0) - rivals.max())
        odds = torch.tensor(self.probability / (1 - self.probability), dtype=torch.float64)
        return max(0.0, float(odds.log()) + spread)


def arithmetics(names: Collection[str], key: str) -> tuple[str, ...]:
    """Return the names of arithmetics in the order of `ARITHMETICS`.

    Args:
        names: Some of them, or one.
        key: What they are given as, for messages.

    Raises:
        ConfigError: There is no such arithmetic.
    """
    given = {names} if isinstance(names, str) else set(names)
    for name in given:
        if name not in ARITHMETICS:
            raise ConfigError(f"{key}={name!r}: no such arithmetic; {nearest(str(name), ARITHMETICS)}")
    return tuple(name for name in ARITHMETICS if name in given)


def _said(decided: Any) -> bool | int:
    """Read the answer of a rule: a truth value or a class.

    Raises:
        ConfigError: It is neither.
    """
    numbers = torch.as_tensor(decided) if hasattr(decided, "__array__") else None
    plain = numbers.item() if numbers is not None and numbers.numel() == 1 else decided
    if not isinstance(plain, int):
        raise ConfigError(f"goal: the rule gave {decided!r}, and not a truth value or a class")
    return plain


def _lead(logits: torch.Tensor, accepted: list[int]) -> float:
    rivals = logits.clone()
    rivals[accepted] = -torch.inf
    return float(logits[accepted].max() - rivals.max())
