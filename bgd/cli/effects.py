"""`bgd effects`: which inputs change their class by a patch, and whether that is more than is allowed."""

from argparse import Namespace
from typing import Any

import torch

from bgd.cli.asked import Asked
from bgd.cli.classes import Classes
from bgd.cli.inputs import Inputs
from bgd.cli.outcome import Outcome
from bgd.cli.parser import UsageError
from bgd.cli.progress import Progress
from bgd.cli.words import counted, short, table
from bgd.evaluation import Evaluation
from bgd.patch import Patch
from bgd.side_effects import Effects, Evaluator

LOT = 500  # inputs that are evaluated before progress is told


def effects(arguments: Namespace) -> Outcome:
    """Compare a model with and without a patch, input by input."""
    asked = Asked.of(arguments)
    inputs = asked.read(arguments.inputs, "inputs")
    labels = asked.labels(arguments.labels, inputs, "labels")
    found = measured(asked, Patch.load(arguments.fix), inputs, labels)
    has_labels = labels is not None
    return Outcome(
        {"fix": arguments.fix, "effects": record(found, inputs, asked.classes, has_labels)},
        words(found, inputs, asked.classes, has_labels),
        refusal(found, arguments),
    )


def measured(asked: Asked, patch: Patch, inputs: Inputs, labels: torch.Tensor | None) -> Effects:
    """Evaluate a model with and without a patch, a lot of inputs at a time."""
    progress, values = Progress(f"effects on {inputs.text}"), asked.given(inputs)
    lots = []
    for start in range(0, len(values), LOT):
        lot = slice(start, start + LOT)
        evaluator = Evaluator(asked.model.network, values[lot], None if labels is None else labels[lot])
        lots.append(evaluator.effects(patch))
        progress(min(start + LOT, len(values)), len(values))
    return Effects(
        Evaluation.cat([each.before for each in lots]),
        Evaluation.cat([each.after for each in lots]),
        torch.cat([each.labels for each in lots]),
    )


def record(found: Effects, inputs: Inputs, classes: Classes, has_labels: bool) -> dict[str, Any]:
    """Return effects as programs read them."""
    flips = [
        {
            "input": inputs.name(at),
            "number": at,
            "from": classes.named(before),
            "to": classes.named(after),
            **({"label": classes.named(label)} if has_labels else {}),
        }
        for at, before, after, label in _flips(found)
    ]
    before, after = found.accuracy
    right = {
        "broken": len(found.broken),
        "fixed": len(found.fixed),
        "accuracy": {"before": before, "after": after},
    }
    return {
        "inputs": len(found),
        "flipped": len(flips),
        **(right if has_labels else {}),
        "loss_change": {str(share): change for share, change in found.loss_quantiles().items()},
        "flips": flips,
    }


def words(found: Effects, inputs: Inputs, classes: Classes, has_labels: bool) -> str:
    """Return effects as people read them."""
    count = f"{inputs.text}: {len(found.flipped):,} of {counted(len(found), 'input')} change class"
    if has_labels:
        before, after = found.accuracy
        count += (
            f", {len(found.broken):,} from right to wrong and {len(found.fixed):,} from wrong to right; accuracy "
            f"{before:.4f} to {after:.4f}"
        )
    changes = ", ".join(f"{short(change)} at {share:.0%}" for share, change in found.loss_quantiles().items())
    lines = [count, f"change in loss, in nats, by quantile: {changes}"]
    rows = [(inputs.name(at), classes.name(before), classes.name(after)) for at, before, after, _ in _flips(found)]
    return "\n".join([*lines, *([table(("input", "from", "to"), rows)] if rows else [])])


def refusal(found: Effects, arguments: Namespace) -> str:
    """Return why effects are more than the user allows, in a sentence; nothing where they are not."""
    flips, most = len(found.flipped), arguments.max_flips
    if most is not None and flips > most:
        return f"refused: {counted(flips, 'input')} change class, and --max-flips allows {most:,}"
    before, after = found.accuracy
    if arguments.max_drop is not None and before - after > arguments.max_drop:
        return f"refused: accuracy falls by {short(before - after)}, and --max-drop allows {arguments.max_drop:g}"
    return ""


def _flips(found: Effects) -> list[tuple[int, int, int, int]]:
    """Return number, class before, class after and label of each input that changes its class."""
    which = found.flipped
    columns = which, found.before.predictions[which], found.after.predictions[which], found.labels[which]
    return list(zip(*(each.tolist() for each in columns), strict=True))
