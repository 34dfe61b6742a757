"""`bgd frontier`: parameters changed against inputs that flip, by each method that applies to the user's own model."""

from argparse import Namespace
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from bgd.cli.asked import Asked
from bgd.cli.inputs import Inputs as Read
from bgd.cli.outcome import Outcome
from bgd.cli.parser import UsageError
from bgd.cli.sentences import as_options
from bgd.cli.target import files_in, refuse_target
from bgd.cli.wanted import goal_of, labels_of
from bgd.pareto import METHODS, Attempt, Frontier, NothingToCorrectError, frontier as survey
from bgd.pareto.lots import Inputs
from bgd.progress import told

KINDS = (".png", ".svg", ".pdf")
SHOWN = [each.name for each in fields(Attempt) if each.name != "patch"]


def frontier(arguments: Namespace) -> Outcome:
    """Correct each input by each method, and say what each costs."""
    refuse_target(arguments.output, arguments.overwrite, files_in(arguments))
    _refuse_kind(arguments.output)
    if not arguments.keep and not arguments.check:
        raise UsageError(
            "effects are seen on other inputs: --check INPUTS, or --keep, half of which is held out"
        )
    asked = Asked.of(arguments)
    sample = asked.sample(arguments)
    labels = labels_of(arguments, asked.classes, len(sample))
    try:
        found = _surveyed(arguments, asked, sample, labels)
    except NothingToCorrectError as error:
        return Outcome({"inputs": 0, "output": None}, "nothing is written", str(error))
    found = replace(found, refused={name: as_options(why) for name, why in found.refused.items()})
    if not arguments.output:
        return Outcome({**_record(found), "output": None}, str(found))
    found.figure(arguments.output)
    return Outcome({**_record(found), "output": arguments.output}, f"{found}\n\nwritten: {arguments.output}")


def _surveyed(arguments: Namespace, asked: Asked, sample: Read, labels: list[int]) -> Frontier:
    """Correct each input by each method."""
    return survey(
        asked.model.network,
        asked.given(sample),
        labels,
        keep=_inputs(asked, arguments.keep, None, "keep"),
        held_out=_inputs(asked, arguments.check, arguments.check_labels, "check"),
        methods=arguments.methods.split(",") if arguments.methods else METHODS,
        training=asked.training(arguments.training),
        statistics=asked.statistics(arguments.statistics),
        goal=goal_of(arguments, asked.classes),
        seed=arguments.seed,
        progress=lambda done, total, what: told("corrections", done, total),
    )


def _refuse_kind(output: str | None) -> None:
    """Refuse a figure of a kind that none is drawn in."""
    if output is not None and Path(output).suffix not in KINDS:
        raise UsageError(f"--output={output!r}: a figure is {', '.join(KINDS)}")


def _inputs(asked: Asked, text: str | None, labels: str | None, where: str) -> Inputs | None:
    """Read inputs, with their labels where there are any.

    Raises:
        UsageError: There are labels alone.
    """
    if text is None:
        if labels is not None:
            raise UsageError(f"--{where}-labels={labels!r}: --{where} gives the inputs that they are of")
        return None
    inputs = asked.read(text, where)
    found: torch.Tensor | None = asked.labels(labels, inputs, f"{where}-labels")
    return asked.given(inputs) if found is None else (asked.given(inputs), found)


def _record(found: Frontier) -> dict[str, Any]:
    return {
        "inputs": found.inputs,
        "held_out": found.held_out,
        "said": found.said,
        "methods": [asdict(each) for each in found.points],
        "refused": dict(found.refused),
        "attempts": [{name: getattr(each, name) for name in SHOWN} for each in found.attempts],
    }
