"""Corrections of a model's mistakes: one call for a sample or a batch, and a corrector for many of them in a row."""

import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

import torch
from torch import nn

from bgd import rng
from bgd.errors import ConfigError
from bgd.flat import check_model
from bgd.goals import Goal
from bgd.knowledge import Knowledge
from bgd.methods.base import Answer, Correction, Method, Problem, Sample
from bgd.methods.catalogue import method_of
from bgd.methods.sample import SampleError, checked_image
from bgd.methods.trial import patch_of
from bgd.modes import ordinary
from bgd.outputs import opened, passed
from bgd.patch import Patch

ROUNDS = 10  # times that a batch is gone through: a correction may break one before it
DEFAULT = "least_change"  # of the methods that know nothing and correct every error, the one with the least side effect

Labels = int | Sequence[int] | torch.Tensor


def correct(
    model: nn.Module,
    x: torch.Tensor,
    y: Labels,
    method: str | Method = DEFAULT,
    *,
    goal: Any = None,
    knowledge: Knowledge | None = None,
    seed: int = 0,
    **options: Any,
) -> Correction:
    """Find a small change of a model's parameters that makes it get a sample, or a batch of them, right.

    The default method corrects every error of both of the thesis' networks and has the least loss of accuracy of all
    methods that do and know nothing but the model and the sample (outputs/tables/aims.md). It changes thousands of
    parameters; with a keep-set of unlabelled inputs, `method="least_harm"` changes a few and does less harm.

    Args:
        model: A classifier. It is copied, never changed; the copy is in eval mode.
        x: The input (1, ...), or several (N, ...), as the model takes it: on its device, in its type.
        y: The right class, or one for each input.
        method: A name (`bgd.METHODS` has them all), or an object with the interface of `bgd.methods.base.Method`.
        goal: More than arg-max: accepted labels, a function of the model's outputs, or a `bgd.Goal`.
        knowledge: What the method may know beyond that: see `bgd.Knowledge.of`.
        seed: Of the method's random numbers.
        **options: Of the method.

    Returns:
        The correction. Of several inputs: one patch after which all of them are right.

    Raises:
        ConfigError: An option is unknown or out of range.
        NetworkError, LayerError: The model cannot be corrected as it is, or not by this method; the message says why.
        InputError, SampleError: The model cannot be asked for the input.
        LookupError: The method needs to know more.
    """
    return Corrector(model, method, knowledge=knowledge, seed=seed, **options).correct(x, y, goal)


class Corrector:
    """Corrects many samples of one model; what they share is made once.

    Each correction starts from the model as it is, with the patches that were accepted since.

    Args:
        model: A classifier. It is copied, never changed; the copy is in eval mode.
        method: A name, or an object with the interface of `bgd.methods.base.Method`.
        knowledge: What the method may know.
        seed: Of the method's random numbers; each call draws its own.
        **options: Of the method.
    """

    def __init__(
        self,
        model: nn.Module,
        method: str | Method = DEFAULT,
        *,
        knowledge: Knowledge | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        if not isinstance(method, str) and options:
            raise ConfigError(f"{min(options)}: options go with a method's name; this method has its own")
        if not isinstance(method, str) and (isinstance(method, type) or not hasattr(method, "correct")):
            raise ConfigError(
                f"method={method!r}: must be a name of bgd.METHODS, or an object such as bgd.methods.BGDII()"
            )
        if not isinstance(knowledge, Knowledge | None):
            raise ConfigError(
                f"knowledge is a {type(knowledge).__name__}: bgd.Knowledge.of(model, ...) makes it"
            )
        check_model(model)
        self.method: Method = method_of(method, **options) if isinstance(method, str) else method
        self._model, self._knowledge, self._seed = model, knowledge or Knowledge(), seed
        self._about = {
            "method": method if isinstance(method, str) else type(method).__name__,
            **({"options": json.dumps(options, default=str, sort_keys=True)} if options else {}),
            "seed": str(seed),
        }
        if model.training:
            warnings.warn(
                "the model is in training mode: it is corrected as it computes in eval mode", stacklevel=2
            )
        self._problem: Problem | None = None
        self._looked = False  # at what the model returns
        self._accepted: list[Patch] = []
        self._asked = 0

    @property
    def patch(self) -> Patch | None:
        """All that was accepted, as one patch of the model that was given; None for nothing."""
        whole: Patch | None = None
        for patch in self._accepted:
            whole = patch if whole is None else whole.then(patch)
        return whole

    def correct(self, x: torch.Tensor, y: Labels, goal: Any = None) -> Correction:
        """Correct an input (1, ...) or several (N, ...); see `correct`. Nothing is accepted by that."""
        wanted = Goal.of(goal)
        labels = labels_of(x, y)
        problem = self._posed(x)
        started = time.perf_counter()
        with ordinary():
            if len(labels) == 1:
                found = self._one(problem, x, labels[0], wanted)
            else:
                found = self._batch(problem, x, labels, wanted)
        return replace(self._described(found, x, labels, wanted), seconds=time.perf_counter() - started)

    def accept(self, patch: Patch | Correction) -> None:
        """Go on from the patched model.

        Raises:
            PatchError: The patch does not start from the model as it is.
            ConfigError: There is no patch.
        """
        change = patch_of(patch)
        problem = self._begun()
        problem.advance(change.over(problem.current.space))
        if isinstance(patch, Correction):
            problem.carry = patch.carry
        self._accepted.append(change)

    def _posed(self, x: torch.Tensor) -> Problem:
        """Return the problem; at the first input, look whether the model's outputs have to be unpacked."""
        problem = self._begun()
        if not self._looked:
            first = Sample(0, x[:1], torch.zeros(1, dtype=torch.int64, device=x.device))
            with ordinary():
                opened(problem.current.module, checked_image(first, problem.original))
            self._looked = True
        return problem

    def _begun(self) -> Problem:
        """Return the problem, posed when it is first asked for."""
        if self._problem is None:
            device = next((each.device for each in self._model.parameters()), torch.device("cpu"))
            problem = Problem(self._model, self._knowledge, device)
            space, known = problem.current.space, self._knowledge.space
            if known is not None and known.shapes != space.shapes:
                raise ConfigError(
                    f"knowledge: it is of a model of {known.size:,} parameters, and the one to correct has "
                    f"{space.size:,} or other shapes: Knowledge.of(model, ...) of this one is wanted"
                )
            self._problem = problem
        return self._problem

    def _one(self, problem: Problem, x: torch.Tensor, label: int, goal: Goal) -> Correction:
        """Correct one input (1, ...) of the network as it is."""
        index, self._asked = self._asked, self._asked + 1
        sample = Sample(index, x, torch.tensor([label], device=x.device))
        logits = problem.logits(sample)
        goal.check(logits.shape[1])
        if goal.met(logits, label, partial(_outputs, problem, x)):
            return Correction.unneeded()
        target = torch.tensor([goal.target(logits, label)], device=x.device)
        passes, found = (0, 0), Correction.failed("no margin that was tried asks for a change")
        for offset in goal.offsets(logits, label):
            asked = replace(sample, label=target, offset=offset)
            if Answer.of(logits, asked).right:
                continue
            found, trial = problem.attempt(self.method, asked, rng.stream(self._seed, "method", index))
            passes = passes[0] + trial.forward_passes, passes[1] + trial.backward_passes
            patch = found.patch
            if patch is None:
                break
            if not torch.isfinite(patch.new).all():
                found = Correction.failed("a changed value is not finite", found.steps)
                break
            if self._met(problem, patch, sample, label, goal):
                break
            found = Correction.failed("the goal is not met, with any margin that was tried", found.steps)
        return replace(found, forward_passes=passes[0], backward_passes=passes[1])

    @staticmethod
    def _met(problem: Problem, patch: Patch, sample: Sample, label: int, goal: Goal) -> bool:
        """Return whether the patched network reaches the goal."""
        with problem.current.patched(patch):
            return goal.met(problem.logits(sample), label, partial(_outputs, problem, sample.image))

    def _batch(self, problem: Problem, x: torch.Tensor, labels: Sequence[int], goal: Goal) -> Correction:
        """Correct several inputs in a row until all are right at once; the problem is left as it was."""
        before, carry = problem.original.clone(), problem.carry
        taken: list[Patch] = []
        total = Correction.unneeded()
        try:
            for _ in range(ROUNDS):
                count = len(taken)
                for place, label in enumerate(labels):
                    found = self._one(problem, x[place : place + 1], label, goal)
                    total = total.plus(found)
                    if not found:
                        return replace(total, reason=f"input {place}: {found.reason}", already=False)
                    if found.patch is not None:
                        problem.advance(found.patch)
                        problem.carry = found.carry
                        taken.append(found.patch)
                if len(taken) == count:
                    break
            else:
                return replace(
                    total,
                    reason=f"corrections undo each other, {ROUNDS} times over all inputs",
                    already=False,
                )
            whole = Patch.between(problem.current.space, before, problem.original)
        finally:
            for patch in reversed(taken):
                problem.advance(patch.inverse())
            problem.carry = carry
        return replace(total, patch=whole, altered=len(whole), already=False) if len(whole) else total

    def _described(self, found: Correction, x: torch.Tensor, labels: Sequence[int], goal: Goal) -> Correction:
        """Return a correction whose patch says what it is of."""
        if found.patch is None:
            return found
        shown = x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        about = {**self._about, "goal": goal.in_words(labels), "sample": sha256(shown).hexdigest()}
        return replace(found, patch=replace(found.patch, metadata=about))


def _outputs(problem: Problem, x: torch.Tensor) -> Any:
    """Return the outputs of the network as it is, in the model's own form."""
    with torch.no_grad():
        return passed(problem.current.module, x)


def labels_of(x: torch.Tensor, y: Labels) -> list[int]:
    """Return a label for each input.

    Raises:
        SampleError: There are more inputs than labels, or the other way.
    """
    if not isinstance(x, torch.Tensor) or x.dim() == 0:
        raise SampleError(
            f"x is a {type(x).__name__}: a tensor (1, ...) or (N, ...) is wanted, as the model takes it"
        )
    if not len(x):
        raise SampleError("x holds no input")
    try:
        labels = torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError):
        raise SampleError(f"y={y!r}: a class index is wanted, or one for each input") from None
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise SampleError(f"y={y!r}: class indices are whole numbers")
    if labels.dim() > 1:
        raise SampleError(
            f"y of shape {tuple(labels.shape)}: a class index for each input is wanted, as one_hot.argmax(1) gives"
        )
    if labels.numel() != len(x):
        shape = tuple(x.shape)
        raise SampleError(
            f"{labels.numel()} labels for {len(x)} inputs, x of shape {shape}: the first dimension of x counts inputs; "
            "give x[None] for a single one, label.argmax() of a one-hot label"
        )
    found: list[int] = labels.reshape(-1).tolist()
    if min(found) < 0:
        raise SampleError(f"y={min(found)}: a class index is 0 or more")
    return found
