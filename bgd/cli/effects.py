"""`bgd effects`: which inputs change their class by a patch, and whether that is more than is allowed."""

from argparse import Namespace
from typing import Any

import torch

from bgd.cli.asked import Asked
from bgd.cli.inputs import Inputs
from bgd.cli.outcome import Outcome
from bgd.cli.words import table
from bgd.patch import Patch
from bgd.progress import followed
from bgd.side_effects import Effects, Evaluator

LOT = 500  # inputs that are evaluated together: progress is told by lots


def effects(arguments: Namespace) -> Outcome:
    """Compare a model with and without a patch, input by input."""
    asked = Asked.of(arguments)
    inputs = asked.read(arguments.inputs, "inputs")
    labels = asked.labels(arguments.labels, inputs, "labels")
    patch = asked.patch(arguments.fix)
    found = measured(asked, patch, inputs, labels)
    told = {"fix": arguments.fix, "effects": record(found, inputs)}
    return Outcome(told, words(found, inputs), refusal(found, arguments))


def measured(asked: Asked, patch: Patch, inputs: Inputs, labels: torch.Tensor | None) -> Effects:
    """Evaluate a model with and without a patch, a lot of inputs at a time."""
    values, lots = asked.given(inputs), []
    for start in followed(f"lots of {LOT} of {inputs.text}", range(0, len(values), LOT)):
        lot = slice(start, start + LOT)
        own = None if labels is None else labels[lot]
        evaluator = Evaluator(asked.model.network, values[lot], own, classes=asked.classes.names)
        lots.append(evaluator.effects(patch))
    return Effects.cat(lots)


def record(found: Effects, inputs: Inputs) -> dict[str, Any]:
    """Return effects as programs read them: those of the library, and which inputs flip from what to what."""
    flips = [
        {"input": inputs.name(at), "number": at, "from": before, "to": after}
        for at, before, after in _flips(found)
    ]
    return {**found.to_dict(), "flips": flips}


def words(found: Effects, inputs: Inputs) -> str:
    """Return effects as people read them: a paragraph, and a line for each input that flips."""
    rows = [(inputs.name(at), found.name(before), found.name(after)) for at, before, after in _flips(found)]
    return "\n".join([found.words(), *([table(("input", "from", "to"), rows)] if rows else [])])


def refusal(found: Effects, arguments: Namespace) -> str:
    """Return why effects are more than the user allows, in a sentence; nothing where they are not."""
    sentence = found.within(arguments.max_flips, arguments.max_drop)
    return f"refused: {sentence}" if sentence else ""


def _flips(found: Effects) -> list[tuple[int, int, int]]:
    """Return number, class before and class after of each input that changes its class."""
    which = found.flipped
    columns = which, found.before.predictions[which], found.after.predictions[which]
    return list(zip(*(each.tolist() for each in columns), strict=True))
