"""`bgd checks`: what can be done with a model, before anything is tried on it.

Methods are looked at by letting each begin: what keeps one from running shows in its first passes.
"""

from argparse import Namespace
from collections import defaultdict
from textwrap import fill
from typing import Any

import torch

from bgd import rng
from bgd.arithmetic import ARITHMETICS, UnavailableError, logits_in
from bgd.cli.asked import Asked
from bgd.cli.classes import Classes
from bgd.cli.inputs import Inputs
from bgd.cli.outcome import Outcome
from bgd.cli.sentences import as_options
from bgd.cli.words import counted
from bgd.curvature.base import CurvatureError
from bgd.errors import ConfigError
from bgd.flat import NetworkError
from bgd.layers import LayerError, output_layer
from bgd.methods.base import Problem, Sample, Trial
from bgd.methods.catalogue import METHODS, method_of
from bgd.outputs import readable
from bgd.progress import followed
from bgd.refusals import refuse_infinite

PASSES = 2  # after which a search counts as one that runs
WIDTH = 100  # characters of a line for people
REFUSALS = (ConfigError, NetworkError, CurvatureError, LookupError)


class EnoughError(Exception):
    """A method has run as far as anybody looks."""


class Glance(Trial):
    """A trial that ends at its third pass."""

    def logits(self, sample: Sample) -> torch.Tensor:
        """Return the copy's logits, of the first passes."""
        self._end()
        return super().logits(sample)

    def gradient(self, sample: Sample, out: torch.Tensor | None = None) -> torch.Tensor:
        """Return the sample's gradient, of the first passes."""
        self._end()
        return super().gradient(sample, out)

    def _end(self) -> None:
        if self.forward_passes + self.backward_passes >= PASSES:
            raise EnoughError


def checks(arguments: Namespace) -> Outcome:
    """Say what can be done with a model."""
    asked = Asked.of(arguments)
    about: dict[str, Any] = {"model": arguments.model, "input": arguments.sample}
    try:
        inputs = asked.sample(arguments)
    except NetworkError as error:
        return _beyond(about, error)
    x = asked.given(inputs)[:1]
    about["input"] = inputs.name(0)
    try:
        problem = Problem(readable(asked.model.network, x, where="sample"), asked.knowledge(arguments))
        logits = problem.logits(Sample(0, x, torch.tensor([0])))
        refuse_infinite(x, logits)
    except (ConfigError, NetworkError) as error:
        return _beyond(about, error)
    about |= _network(problem, x, logits, asked)
    second = logits.argsort(1, descending=True)[0, min(1, logits.shape[1] - 1)]
    about["arithmetics"] = _arithmetics(problem, x)
    about["methods"] = _methods(problem, Sample(0, x, second))
    return Outcome(about, _words(about, inputs, asked.classes))


def _beyond(about: dict[str, Any], error: Exception) -> Outcome:
    """Return the answer for a model that no method takes."""
    return Outcome(
        about, f"{about['model']}: it cannot be corrected as it is", f"cannot be corrected: {error}"
    )


def _network(problem: Problem, x: torch.Tensor, logits: torch.Tensor, asked: Asked) -> dict[str, Any]:
    """Return the facts of a network that running it shows."""
    space, module = problem.current.space, problem.current.module
    try:
        head = {"layer": output_layer(module, x)}
    except LayerError as error:
        head = {"reason": str(error)}
    return {
        "parameters": space.size,
        "type": str(problem.original.dtype).removeprefix("torch."),
        "frozen": list(space.frozen),
        "steady": True,
        "classes": logits.shape[1],
        "says": asked.classes.named(int(logits.argmax())),
        "head": head,
    }


def _arithmetics(problem: Problem, x: torch.Tensor) -> dict[str, dict[str, Any]]:
    """Say of each arithmetic whether the network runs in it, and which class it gives the input there."""
    found: dict[str, dict[str, Any]] = {}
    for name in followed("arithmetics", list(ARITHMETICS)):
        try:
            found[name] = {"runs": True, "class": int(logits_in(name, problem.current.module, x).argmax())}
        except (ConfigError, NetworkError, UnavailableError) as error:
            found[name] = {"runs": False, "reason": str(error)}
    return found


def _methods(problem: Problem, sample: Sample) -> dict[str, dict[str, Any]]:
    """Say of each method whether it runs, and if not why."""
    found = {}
    for name, kind in followed("methods", list(METHODS.items())):
        reason = _reason(problem, name, sample)
        found[name] = {"runs": not reason, "knows": kind.knows, **({"reason": reason} if reason else {})}
    return found


def _reason(problem: Problem, name: str, sample: Sample) -> str:
    """Say why a method does not run; nothing where it does."""
    try:
        with problem.trying():
            method_of(name).correct(Glance(problem), sample, rng.stream(0, "checks", name))
    except EnoughError:
        pass
    except REFUSALS as error:
        return as_options(str(error))
    return ""


def _words(about: dict[str, Any], inputs: Inputs, classes: Classes) -> str:
    """Say it for people: facts first, then the methods, those that do not run by the reason."""
    head, says = about["head"], about["says"]["class"]
    frozen = f", {counted(len(about['frozen']), 'tensor')} of them frozen" if about["frozen"] else ""
    facts = [
        f"{about['parameters']:,} parameters in {about['type']}{frozen}; two passes agree",
        f"{counted(about['classes'], 'class')}; {inputs.name(0)} is {classes.name(says)}",
        f"last layer: {head['layer'] or 'the model itself'}"
        if "layer" in head
        else f"last layer: none; {head['reason']}",
    ]
    there = [name for name, each in about["arithmetics"].items() if each["runs"]]
    facts.append(f"arithmetics that --where may name: {', '.join(there)}")
    for name, each in about["arithmetics"].items():
        if not each["runs"]:
            facts.append(f"not {name}: {each['reason'].removeprefix(f'{name}: ')}")
    runs: list[str] = []
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, each in about["methods"].items():
        (runs if each["runs"] else reasons[each["reason"]]).append(name)
    ways = [f"methods that run: {', '.join(runs) or 'none'}"]
    ways += [f"methods that do not: {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return "\n".join([*facts, *(fill(line, WIDTH, subsequent_indent="  ") for line in ways)])
