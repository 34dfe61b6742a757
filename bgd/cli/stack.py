"""`bgd stack`: fixes of one model in a file. Add one, undo any, see which later one broke which, make one of all."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from bgd.cli.asked import Asked
from bgd.cli.outcome import Outcome
from bgd.cli.parser import UsageError
from bgd.cli.target import files_in, refuse_target
from bgd.cli.wanted import goal_of, labels_of
from bgd.cli.words import counted, table
from bgd.stack import Stack, Status, Step

RIGHT = {True: "right", False: "wrong", None: "no input"}


def stack(arguments: Namespace) -> Outcome:
    """Change a stack as asked, and say how each of its fixes stands."""
    written = _written(arguments)
    refuse_target(arguments.squash, arguments.overwrite, files_in(arguments, "squash"))
    if written and arguments.squash and Path(written).resolve() == Path(arguments.squash).resolve():
        raise UsageError(f"--squash={arguments.squash!r}: the stack is written there")
    asked = Asked.of(arguments)
    there = Path(arguments.stack).exists()
    held = Stack.load(arguments.stack, asked.model.network) if there else Stack(asked.model.network)
    steps = []
    if arguments.undo is not None:
        steps.append(held.undo(arguments.undo))
    if arguments.add:
        steps.append(_added(held, asked, arguments))
    squashed = _squashed(held, asked, arguments)
    if written:
        held.save(written, overwrite=arguments.overwrite)
    about = {
        "stack": written or arguments.stack,
        "steps": [_step(each) for each in steps],
        "fixes": [vars(each) for each in held.status()],
        "conflicts": [vars(each) for each in held.conflicts()],
        "squashed": squashed,
    }
    return Outcome(about, "\n".join([*map(str, steps), _table(held.status())]))


def _written(arguments: Namespace) -> str | None:
    """Return the file that the stack is written into; None where it stays as it is.

    Raises:
        UsageError: The stack is not there and nothing is added, or its file may not be written.
    """
    there = Path(arguments.stack).exists()
    if not there and not arguments.add:
        raise UsageError(f"stack={arguments.stack!r}: there is no such file; --add FIX begins one")
    for option in () if arguments.add else ("sample", "label", "accept", "index", "note"):
        if getattr(arguments, option) is not None:
            raise UsageError(f"--{option} is of a fix that is added: --add FIX")
    if arguments.add and arguments.sample is None and (arguments.label or arguments.accept):
        raise UsageError("--label and --accept are of inputs: --sample SAMPLE")
    if not arguments.add and arguments.undo is None:
        if arguments.output:
            raise UsageError(f"--output={arguments.output!r}: nothing changes without --add or --undo")
        return None
    if there and not arguments.output and not arguments.overwrite:
        raise UsageError(
            f"stack={arguments.stack!r}: it changes: --overwrite replaces it, -o FILE writes another one"
        )
    output: str = arguments.output or arguments.stack
    own = ("stack",) if output == arguments.stack else ()
    refuse_target(output, arguments.overwrite, files_in(arguments, "squash", *own))
    return output


def _added(held: Stack, asked: Asked, arguments: Namespace) -> Step:
    """Put a fix on top, with the inputs that it is for where they are given."""
    patch, note = asked.fix(arguments.add), arguments.note or arguments.add
    if arguments.sample is None:
        return held.add(patch, note=note)
    inputs = asked.sample(arguments)
    labels = labels_of(arguments, asked.classes, len(inputs))
    return held.add(patch, asked.given(inputs), labels, note, goal_of(arguments, asked.classes))


def _squashed(held: Stack, asked: Asked, arguments: Namespace) -> dict[str, Any] | None:
    """Write one patch that does what the stack does."""
    if arguments.squash is None:
        return None
    patch = asked.model.stored(held.squash())
    patch.save(arguments.squash, overwrite=arguments.overwrite)
    return {"output": arguments.squash, "parameters": len(patch)}


def _step(step: Step) -> dict[str, Any]:
    return {
        "fix": step.fix.number,
        "right": step.holds,
        "broken": [each.number for each in step.broken],
        "mended": [each.number for each in step.mended],
        "words": str(step),
    }


def _table(status: list[Status]) -> str:
    if not status:
        return "no fix is in the stack"
    rows = [
        (each.number, each.note, each.parameters, each.overwritten, RIGHT[each.right], each.broken_by)
        for each in status
    ]
    head = ("fix", "note", "parameters", "overwritten", "its inputs", "broken by")
    return f"{counted(len(status), 'fix')}\n{table(head, rows)}"
