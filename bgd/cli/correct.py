"""`bgd correct`: a small change that makes a model get an input right, what it costs, and its file."""

from argparse import Namespace
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import torch

from bgd import __version__
from bgd.cli import change, effects
from bgd.cli.asked import Asked
from bgd.cli.classes import Classes
from bgd.cli.inputs import Inputs
from bgd.cli.outcome import Outcome
from bgd.cli.parser import UsageError
from bgd.cli.target import files_in, refuse_target
from bgd.cli.wanted import goal_of, labels_of, method_of
from bgd.cli.words import short
from bgd.corrector import Corrector
from bgd.goals import Goal
from bgd.methods.trial import Correction
from bgd.outputs import InputError
from bgd.patch import Patch
from bgd.refusals import place_of
from bgd.side_effects import Effects

KINDS = {"keep": "on the keep-set, which chose the change", "check": "on inputs that had no say"}


@dataclass(frozen=True, eq=False)
class Watched:
    """Inputs on which side effects are told.

    Attributes:
        key: One of `KINDS`.
        inputs: They.
        labels: Their right classes (N,), None where nobody gave them.
    """

    key: str
    inputs: Inputs
    labels: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Report:
    """What a correction did, to be said.

    Attributes:
        said: Class and score of each sample before and after, in the model's own outputs.
        patch: As it is stored.
        effects: On the inputs that are watched.
    """

    said: list[tuple[str, tuple[int, float], tuple[int, float]]]
    patch: Patch
    effects: list[tuple[Watched, Effects]]


def correct(arguments: Namespace) -> Outcome:
    """Look for a change, say what it does to other inputs, and write it unless it does too much."""
    refuse_target(arguments.output, arguments.overwrite, files_in(arguments))
    asked = Asked.of(arguments)
    sample = asked.sample(arguments)
    labels = labels_of(arguments, asked.classes, len(sample))
    goal = goal_of(arguments, asked.classes)
    watched = _watched(asked, arguments, sample)
    found = _searched(asked, arguments, sample, labels, goal)
    about = _about(arguments, found, goal.in_words(labels))
    if found.already:
        what = "its goal is" if len(sample) == 1 else "the goals of all inputs are"
        return _refused(about, f"nothing to correct: {what} met already, {about['goal']} of {sample.text}")
    if found.patch is None:
        return _refused(about, f"no correction: {found.reason}")
    report = _reported(asked, sample, found.patch, watched)
    error = _not_met(goal, labels, report, asked.classes)
    about["corrected"] = not error
    error = error or (effects.refusal(report.effects[-1][1], arguments) if watched else "")
    if arguments.output and not error:
        stored = _described(asked, report.patch, sample, arguments)
        stored.save(arguments.output, overwrite=arguments.overwrite)
    output = arguments.output if not error else None
    return Outcome(
        {**about, **_record(report, asked.classes), "output": output},
        "\n".join([*_words(report, asked.classes), _cost(found, about["method"]), _end(output, error)]),
        error,
    )


def _watched(asked: Asked, arguments: Namespace, sample: Inputs) -> list[Watched]:
    """Read the inputs on which side effects are told: the last ones are those that limits are about.

    Raises:
        UsageError: There are none, and a limit is.
        InputError: Those that are to have no say hold the sample.
    """
    found = []
    if arguments.keep:
        found.append(Watched("keep", asked.read(arguments.keep, "keep"), None))
    if arguments.check:
        inputs = asked.looked_at(arguments.check, "check")
        _refuse_sample(inputs, sample)
        found.append(Watched("check", inputs, asked.labels(arguments.check_labels, inputs, "check-labels")))
    elif arguments.check_labels:
        raise UsageError(
            f"--check-labels={arguments.check_labels!r}: --check gives the inputs that they are of"
        )
    if not found and (arguments.max_flips is not None or arguments.max_drop is not None):
        raise UsageError("--max-flips and --max-drop are about other inputs: --check INPUTS, or --keep")
    return found


def _refuse_sample(inputs: Inputs, sample: Inputs) -> None:
    """Refuse inputs to check by that hold the sample: its class is to change, and a limit would count it.

    Raises:
        InputError: Names its place among them.
    """
    for x in torch.split(sample.values, 1):
        place = place_of(x, inputs.values)
        if place is not None:
            raise InputError(
                f"check: its input {place}, {inputs.name(place)}, is the sample itself, whose class is to change: take "
                "it out"
            )


def _searched(
    asked: Asked, arguments: Namespace, sample: Inputs, labels: list[int], goal: Goal
) -> Correction:
    name, options = method_of(arguments)
    knowledge = asked.knowledge(arguments)
    corrector = Corrector(asked.model.network, name, knowledge=knowledge, seed=arguments.seed, **options)
    return corrector.correct(asked.given(sample), labels, goal)


def _reported(asked: Asked, sample: Inputs, patch: Patch, watched: list[Watched]) -> Report:
    before = _said(asked.model.outputs(sample.values))
    after = _said(asked.model.patched(patch).outputs(sample.values))
    names = [sample.name(number) for number in range(len(sample))]
    found = [(each, effects.measured(asked, patch, each.inputs, each.labels)) for each in watched]
    return Report(list(zip(names, before, after, strict=True)), asked.model.stored(patch), found)


def _said(outputs: torch.Tensor) -> list[tuple[int, float]]:
    """Return class and score of each row of outputs (N, C)."""
    scores, classes = outputs.max(1)
    return list(zip(classes.tolist(), scores.tolist(), strict=True))


def _not_met(goal: Goal, labels: list[int], report: Report, classes: Classes) -> str:
    """Return a sentence where the model itself, as it is deployed, does not say what the correction promises."""
    for label, (name, _, (after, _)) in zip(labels, report.said, strict=True):
        if after not in (goal.labels or (label,)):
            return f"no correction: the model itself, with the change, calls {name} {classes.name(after)}"
    return ""


def _described(asked: Asked, patch: Patch, sample: Inputs, arguments: Namespace) -> Patch:
    """Return a patch that says what it was made of: model, input, and how a picture became one."""
    seen = sample.values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    metadata = {
        **patch.metadata,
        "sample": sha256(seen).hexdigest(),
        "input": ", ".join(sample.name(number) for number in range(len(sample))),
        "model": ", ".join(
            each for each in (arguments.model, arguments.weights or arguments.factory) if each
        ),
        "bgd": __version__,
        **({"transform": sample.transform} if sample.transform else {}),
    }
    return replace(patch, metadata=metadata)


def _about(arguments: Namespace, found: Correction, goal: str) -> dict[str, Any]:
    name, options = method_of(arguments)
    return {
        "corrected": found.patch is not None,
        "method": name,
        "options": options,
        "seed": arguments.seed,
        "goal": goal,
        "margin": found.margin,
        "seconds": found.seconds,
        "forward_passes": found.forward_passes,
        "backward_passes": found.backward_passes,
    }


def _refused(about: dict[str, Any], error: str) -> Outcome:
    return Outcome({**about, "output": None}, "nothing is written", error)


def _record(report: Report, classes: Classes) -> dict[str, Any]:
    said = [
        {
            "input": name,
            "before": {**classes.named(before[0]), "score": before[1]},
            "after": {**classes.named(after[0]), "score": after[1]},
        }
        for name, before, after in report.said
    ]
    told = {each.key: effects.record(found, each.inputs) for each, found in report.effects}
    return {"samples": said, "patch": change.record(report.patch), **told}


def _words(report: Report, classes: Classes) -> list[str]:
    said = [
        f"{name}: {classes.name(before[0])} before, {classes.name(after[0])} after (scores {short(before[1])}, "
        f"{short(after[1])})"
        for name, before, after in report.said
    ]
    told = [f"{KINDS[each.key]}: {effects.words(found, each.inputs)}" for each, found in report.effects]
    return [*said, change.words(report.patch), *told]


def _cost(found: Correction, method: str) -> str:
    passes = f"{found.forward_passes:,} forward and {found.backward_passes:,} backward passes"
    return f"{method}: {short(found.seconds)} s, {passes}"


def _end(output: str | None, error: str) -> str:
    if output:
        return f"written: {output}"
    return "nothing is written" if error else "nothing is written: -o FILE keeps the change"
