"""The survey: every method corrects every input, and what that does is seen on inputs that had no part in it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from bgd.corrector import Corrector, Labels, labels_of
from bgd.curvature.base import CurvatureError
from bgd.errors import ConfigError
from bgd.flat import NetworkError
from bgd.knowledge import Knowledge, Statistics
from bgd.methods.base import Correction, Method, TrialError
from bgd.methods.catalogue import method_of
from bgd.methods.last_layer.output_bias import OutputBias
from bgd.methods.last_layer.weight import LastLayerWeight
from bgd.pareto.lots import Inputs, divided
from bgd.pareto.points import Attempt, Frontier
from bgd.side_effects import Evaluator

METHODS = (  # one of each kind: bgd.METHODS has them all
    "output_bias",
    "last_layer_weight",
    "last_layer_weight_statistic",
    "last_layer_lp_l1",
    "last_layer_lp_l1_keep",
    "least_change",
    "least_harm",
    "least_harm_fisher",
    "least_harm_kfac",
    "bgd_i_smallest",
    "bgd_ii",
    "bgd_ii_smallest",
    "top_k",
    "kl_retrain",
    "retrain",
)
CLOSED_FORMS = (OutputBias, LastLayerWeight)
REFUSALS = (ConfigError, NetworkError, CurvatureError, TrialError, LookupError)
KEPT = 100_000  # values of a patch that is kept with its attempt

Progress = Callable[[int, int, str], object]


class NothingToCorrectError(ConfigError):
    """The model gets every input right that it was to be corrected on."""


def frontier(
    model: nn.Module,
    x: torch.Tensor,
    y: Labels,
    *,
    keep: Inputs | None = None,
    held_out: Inputs | None = None,
    methods: Collection[str] | Mapping[str, Method] = METHODS,
    training: tuple[torch.Tensor, torch.Tensor] | None = None,
    statistics: Statistics | None = None,
    goal: Any = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Frontier:
    """Correct inputs by many methods, each input alone, and set parameters changed against inputs that change class.

    It costs a correction for each method and input, and with each an evaluation of what the patch changes on the
    held-out inputs. Methods that descend a gradient (`retrain`, `kl_retrain`) take most of the time; the table has the
    seconds of each.

    Args:
        model: A classifier. It is copied, never changed.
        x: Inputs that it gets wrong (n, ...). Those that it gets right are left out.
        y: The right class of each.
        keep: Inputs for the methods that know a keep-set, and their labels if there are any.
        held_out: Inputs to see the effects on, likewise. Without them `keep` is divided in two by a seeded shuffle. One
            that is also among `x`, the keep-set or the training data is left out.
        methods: Names of `bgd.METHODS`, each with the defaults of its options; or methods by a name of one's own.
        training: Training images and their labels, for the methods that know them: see `bgd.Knowledge.of`.
        statistics: Of the training data, likewise.
        goal: As of `bgd.correct`.
        seed: Of the methods' random numbers and the shuffle.
        progress: Called before each correction with how many are done, how many there are, and what comes.

    Raises:
        ConfigError: A method has no such name, nothing is held out, or no method applies.
        NothingToCorrectError: The model gets every input right.
        NetworkError: The model cannot be corrected as it is.
        InputError: The model does not take the inputs, or has no such classes.
    """
    made, labels = _made(methods), labels_of(x, y)
    Evaluator(model, x, torch.tensor(labels, device=x.device))  # refuses what no method takes
    lots = divided(x, keep, held_out, None if training is None else training[0], seed)
    knowledge = Knowledge.of(model, training=training, keep=lots.keep, statistics=statistics, seed=seed)
    evaluator = Evaluator(model, lots.held_out, lots.labels)

    def tell(name: str, place: int) -> None:
        if progress is not None:
            done = list(made).index(name) * len(labels) + place
            progress(done, len(made) * len(labels), f"{name}, input {place}")

    attempts: list[Attempt] = []
    refused: dict[str, str] = {}
    for name, method in made.items():
        corrector = Corrector(model, method, knowledge=knowledge, seed=seed)
        try:
            attempts += _attempts(name, corrector, x, labels, goal, evaluator, tell)
        except REFUSALS as error:
            if isinstance(error, KeyError | IndexError):  # no refusal, but a mistake in a method
                raise
            refused[name] = str(error)
    if len(refused) == len(made):
        first = next(iter(refused))
        raise ConfigError(f"no method applies; {first}: {refused[first]}")
    tried = len({each.input for each in attempts})
    if not tried:
        raise NothingToCorrectError("nothing to correct: the model gets every input right")
    right = len(labels) - tried
    return Frontier(
        attempts=tuple(attempts),
        refused=refused,
        about={name: _about(method) for name, method in made.items() if name not in refused},
        inputs=tried,
        held_out=len(lots.held_out),
        labelled=lots.labels is not None,
        said=lots.said + (f" Left out, being right already: {right:,} inputs." if right else ""),
    )


def _about(method: Method) -> tuple[str, bool]:
    """Return a method's level of knowledge, and whether it is a closed form."""
    return str(getattr(method, "knows", "")), isinstance(method, CLOSED_FORMS)


def _made(methods: Collection[str] | Mapping[str, Method]) -> dict[str, Method]:
    """Return methods by name.

    Raises:
        ConfigError: A name is none, or there are none.
    """
    if isinstance(methods, str) or not methods:
        raise ConfigError(f"methods={methods!r}: a list of names of bgd.METHODS is wanted")
    if isinstance(methods, Mapping):
        # bgd.METHODS itself has classes, which Corrector makes objects of by name.
        return {name: method_of(name) if isinstance(each, type) else each for name, each in methods.items()}
    return {name: method_of(name) for name in methods}


def _attempts(
    name: str,
    corrector: Corrector,
    x: torch.Tensor,
    labels: Sequence[int],
    goal: Any,
    evaluator: Evaluator,
    tell: Callable[[str, int], None],
) -> list[Attempt]:
    """Correct each input that is wrong, and look at what that does."""
    found = []
    for place, label in enumerate(labels):
        tell(name, place)
        correction = corrector.correct(x[place : place + 1], label, goal)
        if not correction.already:
            found.append(_attempt(name, place, correction, evaluator))
    return found


def _attempt(name: str, place: int, found: Correction, evaluator: Evaluator) -> Attempt:
    """Look at what a correction does to the held-out inputs."""
    patch = found.patch
    if patch is None:
        return Attempt(name, place, found.reason, found.seconds)
    effects = evaluator.effects(patch)
    loss, labelled = effects.loss_quantiles(), effects.labelled
    return Attempt(
        name,
        place,
        "",
        found.seconds,
        len(patch),
        len(effects.flipped),
        len(effects.broken) if labelled else None,
        len(effects.fixed) if labelled else None,
        loss[0.5],
        loss[0.95],
        loss[1.0],
        effects.margin_quantiles()[0.0],
        patch if len(patch) <= KEPT else None,
    )
