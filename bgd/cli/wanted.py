"""What a command line asks for: a goal, labels, a method with its options."""

import json
from argparse import Namespace
from typing import Any

from bgd.cli.classes import Classes
from bgd.cli.parser import UsageError
from bgd.cli.words import counted
from bgd.corrector import DEFAULT
from bgd.goals import Goal


def goal_of(arguments: Namespace, classes: Classes) -> Goal:
    """Return the goal that the options name."""
    accepted = classes.numbers(arguments.accept, "--accept") if arguments.accept else ()
    where = tuple(arguments.where.split(",")) if arguments.where else ()
    return Goal(labels=accepted, margin=arguments.margin, probability=arguments.probability, where=where)


def labels_of(arguments: Namespace, classes: Classes, count: int) -> list[int]:
    """Return the label of each of so many inputs.

    Raises:
        UsageError: There is none, or another number of them.
    """
    if arguments.label is None and arguments.accept:
        return [classes.numbers(arguments.accept, "--accept")[0]] * count
    if arguments.label is None:
        raise UsageError("--label says which class is right, or --accept which classes are")
    found = classes.numbers(arguments.label, "--label")
    if len(found) != count:
        raise UsageError(
            f"--label={arguments.label!r}: {counted(len(found), 'label')} for {counted(count, 'input')}; "
            "--index takes one of several, and a single input needs a first dimension that counts inputs, x[None]"
        )
    accepted = classes.numbers(arguments.accept, "--accept") if arguments.accept else found
    if not set(found) <= set(accepted):
        raise UsageError(
            f"--label={arguments.label!r}: --accept={arguments.accept!r} has no such class, and says which will do"
        )
    return found


def method_of(arguments: Namespace) -> tuple[str, dict[str, Any]]:
    """Return the name of the method and its options: by default the best for what is known (docs/library.md)."""
    options = {key: value_of(text) for key, text in arguments.set}
    if arguments.method:
        return arguments.method, options
    if arguments.keep:
        return "least_harm", options
    return "least_harm_kfac" if arguments.training or arguments.statistics else DEFAULT, options


def value_of(text: str) -> Any:
    """Read the value of an option: JSON where it is, as numbers, true and lists are; text otherwise."""
    try:
        return json.loads(text)
    except ValueError:
        return text
