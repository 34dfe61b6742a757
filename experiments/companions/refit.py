"""What may follow early stopping, on all training rows: the notes' two ways to use those that were set aside."""

from dataclasses import replace
from pathlib import Path

from experiments.companions.bank import Bank
from experiments.companions.evaluation import evaluate
from experiments.companions.stops import Early, Epochs, Steps
from experiments.companions.train import Trained, train


def refit(trained: Trained, root: Path) -> Trained:
    """Train a lane that stopped early once more, as its `stop.refit` says; the lane itself where it says none.

    `same_steps`: from the start, for as many steps as its best parameters had. `below_loss`: on from its best
    parameters, until the loss of the rows set aside is below the training loss at the stop; that may never be, so it
    ends after `most` epochs.
    """
    stop = trained.training.stop
    if not isinstance(stop, Early) or stop.refit == "none":
        return trained
    if stop.refit == "same_steps":
        again = replace(trained.training, stop=Steps(max(1, trained.stopped)))
        return train([again], root)[0]
    onward = replace(trained.training, stop=Epochs(stop.most), evaluate=stop.most)
    goal, share = trained.history["train_loss"][-1], stop.share

    def below(bank: Bank, step: int) -> bool:
        part = bank.train[0]
        aside = replace(part, rows=part.rows[len(part.rows) - round(share * len(part.rows)) :])
        return float(evaluate(bank, [aside]).loss[0]) < goal

    return train([onward], root, [trained.parameters], below)[0]
