"""When a training ends, and which of its parameters it gives."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from bgd.errors import ConfigError


class Keeper(Protocol):
    """Watches the evaluations of one lane, and says which parameters are kept.

    Attributes:
        at: The step that the kept ones are of; 0 for the start.
    """

    at: int

    @property
    def over(self) -> bool:
        """Whether the lane has ended."""
        ...

    def takes(self, loss: float, accuracy: float, step: int) -> bool:
        """Take an evaluation; tell whether the parameters of now are to be kept."""
        ...


class Stop(Protocol):
    """An end of a training.

    Attributes:
        share: Of the training rows, the last ones, that are set aside for the keeper; 0 for none.
    """

    @property
    def share(self) -> float: ...  # noqa: D102

    def steps(self, batches: int) -> int:
        """Give the most steps, where an epoch has so many batches."""
        ...

    def keeper(self) -> Keeper | None:
        """Make the keeper of a lane; None where the last parameters are the ones."""
        ...


@dataclass(frozen=True)
class Steps:
    """After a number of steps."""

    count: int
    share: float = 0.0

    def __post_init__(self) -> None:
        check_least("stop.count", self.count, 1)

    def steps(self, batches: int) -> int:
        """See `Stop.steps`."""
        return self.count

    def keeper(self) -> Keeper | None:
        """See `Stop.keeper`."""
        return None


@dataclass(frozen=True)
class Epochs:
    """After a number of epochs."""

    count: int
    share: float = 0.0

    def __post_init__(self) -> None:
        check_least("stop.count", self.count, 1)

    def steps(self, batches: int) -> int:
        """See `Stop.steps`."""
        return self.count * batches

    def keeper(self) -> Keeper | None:
        """See `Stop.keeper`."""
        return None


Refit = Literal["none", "same_steps", "below_loss"]


@dataclass(frozen=True)
class Early:
    """Early stopping: the parameters of the lowest loss on rows set aside.

    Attributes:
        most: Epochs.
        patience: Evaluations without a new best after which a lane ends.
        share: Of the training rows that are set aside.
        refit: What follows on all rows, see `experiments.companions.refit`.
    """

    most: int
    patience: int = 5
    share: float = 0.2
    refit: Refit = "none"

    def __post_init__(self) -> None:
        _check_share(self.share)
        check_least("stop.most", self.most, 1)

    def steps(self, batches: int) -> int:
        """See `Stop.steps`."""
        return self.most * batches

    def keeper(self) -> Keeper | None:
        """See `Stop.keeper`."""
        return Patience(self.patience)


@dataclass(frozen=True)
class Accuracy:
    """At the first evaluation with an accuracy on rows set aside: networks of matched accuracy.

    Attributes:
        accuracy: In [0, 1].
        most: Steps.
        share: Of the training rows that are set aside.
    """

    accuracy: float
    most: int
    share: float = 0.2

    def __post_init__(self) -> None:
        _check_share(self.share)
        check_least("stop.most", self.most, 1)

    def steps(self, batches: int) -> int:
        """See `Stop.steps`."""
        return self.most

    def keeper(self) -> Keeper | None:
        """See `Stop.keeper`."""
        return Reached(self.accuracy)


def check_least(name: str, value: int, least: int) -> None:
    """Refuse a number below the least."""
    if value < least:
        raise ConfigError(f"{name}={value}: must be at least {least}")


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise ConfigError(f"stop.share={share}: must be above 0 and below 1")


@dataclass
class Patience:
    """Keeps the lowest loss, and ends after so many evaluations without a lower one."""

    limit: int
    best: float = math.inf
    since: int = 0
    at: int = 0

    def takes(self, loss: float, accuracy: float, step: int) -> bool:
        """See `Keeper.takes`."""
        if self.over:
            return False
        if loss < self.best:
            self.best, self.since, self.at = loss, 0, step
            return True
        self.since += 1
        return False

    @property
    def over(self) -> bool:
        """See `Keeper.over`."""
        return self.since >= self.limit


@dataclass
class Reached:
    """Keeps the first parameters of an accuracy, the best ones until there are some."""

    accuracy: float
    best: float = -1.0
    at: int = 0

    def takes(self, loss: float, accuracy: float, step: int) -> bool:
        """See `Keeper.takes`."""
        if self.over or accuracy <= self.best:
            return False
        self.best, self.at = accuracy, step
        return True

    @property
    def over(self) -> bool:
        """See `Keeper.over`."""
        return self.best >= self.accuracy
