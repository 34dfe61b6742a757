"""One training as data: what a lane is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from experiments.companions.constraints import Constraint
from experiments.companions.data.pool import Task
from experiments.companions.losses import Loss
from experiments.companions.networks import Model
from experiments.companions.noise import Noise
from experiments.companions.numbers import structure
from experiments.companions.optimizers import Optimizer
from experiments.companions.penalties.base import Penalty
from experiments.companions.schedules import Schedule
from experiments.companions.starts import Init
from experiments.companions.stops import Stop, check_least
from experiments.companions.updates.base import Update


@dataclass(frozen=True)
class Training:
    """A network, what it is trained on and how: the content of conf/companions/training.yaml.

    Attributes:
        model, data, init, loss, optimizer, stop: See their modules.
        schedule: Of the learning rate; None for a constant one.
        penalty: Terms of the loss, by name.
        update: What is taken from the parameters beside the optimizer's step.
        constraint, noise: Where there are some.
        batch_size: Samples of a step; 0 for all.
        drop_last: Whether an incomplete last batch is left out.
        stretch: For a training with so many times fewer steps: the factor on the learning rate.
        decay_stretch: The same for the update's rate, see `Update.stretched`; 0 for `stretch`.
        bootstrap: Whether rows are drawn with replacement, as for bagging.
        evaluate: How often there is an evaluation, in all, beside those of the start.
        batch_statistics: Rows of a batch at evaluation where batch normalization uses the batch's own moments there
            too; 0 for the moments of the training set.
        seed: Of the rows, the initial weights, the order and all noise.
    """

    model: Model
    data: Task
    init: Init
    loss: Loss
    optimizer: Optimizer
    stop: Stop
    schedule: Schedule | None = None
    penalty: Mapping[str, Penalty] = field(default_factory=dict)
    update: Update | None = None
    constraint: Constraint | None = None
    noise: Noise = field(default_factory=Noise)
    batch_size: int = 0
    drop_last: bool = False
    stretch: float = 1.0
    decay_stretch: float = 0.0
    bootstrap: bool = False
    evaluate: int = 10
    batch_statistics: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 0), ("evaluate", 1), ("batch_statistics", 0)):
            check_least(name, getattr(self, name), least)

    @property
    def taken(self) -> float:
        """The rate of the update, for this many steps."""
        return self.update.stretched(self.decay_stretch or self.stretch, self.stretch) if self.update else 0.0

    def alike(self, other: "Training") -> bool:
        """Tell whether two can be lanes of one bank: they differ in seeds and in numbers of lanes alone."""
        return bool(structure(replace(self, seed=0)) == structure(replace(other, seed=0)))
