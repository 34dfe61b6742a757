"""The non-reloading setting: each sample is corrected from the network that the samples before left."""

from dataclasses import dataclass, field
from time import perf_counter

from bgd import rng
from bgd.evaluation import ForkingEvaluator
from bgd.methods.base import Method, Problem, Sample
from scripts.bench.subjects import Subject


@dataclass
class Chain:
    """Seconds of each sample, in their order; 0 for one that was right when its turn came.

    Attributes:
        search: Of the fast search.
        evaluation: Of moving to the corrected network and evaluating it.
        moved: Whether the network is another after it.
        already_right: Number of samples that were right.
    """

    search: list[float] = field(default_factory=list)
    evaluation: list[float] = field(default_factory=list)
    moved: list[bool] = field(default_factory=list)
    already_right: int = 0


def chain(subject: Subject, method: Method, evaluator: ForkingEvaluator, budget: float) -> Chain:
    """Correct the samples in turn, with an evaluator of one's own; stop when the budget in seconds is spent."""
    found, problem = Chain(), subject.problem()
    _ = problem.mean_gradient, evaluator.base
    for there, back in subject.edits(list(subject.work)[-1], 1)[:1]:  # the first move copies what was shared
        evaluator.advance(there)
        evaluator.advance(back)
    for sample in subject.samples:
        with problem.trying() as trial:
            right = trial.answer(sample).right
        found.already_right += right
        search, evaluation, moved = (0.0, 0.0, False) if right else _turn(problem, method, evaluator, sample)
        found.search.append(search)
        found.evaluation.append(evaluation)
        found.moved.append(moved)
        if sum(found.search) + sum(found.evaluation) > budget:
            break
    return found


def _turn(
    problem: Problem, method: Method, evaluator: ForkingEvaluator, sample: Sample
) -> tuple[float, float, bool]:
    """Correct a sample and move to the corrected network; return the seconds of both, and whether it moved."""
    started = perf_counter()
    with problem.trying() as trial:
        correction = method.correct(trial, sample, rng.stream(0, "method", sample.index))
    searched = perf_counter()
    problem.carry = correction.carry
    if correction.patch is not None:
        problem.advance(correction.patch)
        evaluator.advance(correction.patch)
        _ = evaluator.base
    return searched - started, perf_counter() - searched, correction.patch is not None
