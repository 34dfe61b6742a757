"""Each method: its search, obvious beside fast, and the evaluation of the patches that it really made."""

import statistics
from dataclasses import asdict, dataclass, field

from bgd import rng
from bgd.evaluation import ForkingEvaluator, FullEvaluator
from bgd.methods.base import Method
from bgd.patch import Patch
from experiments.config.build import build
from experiments.report.style import method_order
from scripts.bench import obvious, targets
from scripts.bench.accumulate import Chain, chain
from scripts.bench.evaluation import check
from scripts.bench.machine import Machine
from scripts.bench.method_tables import show
from scripts.bench.search import passes
from scripts.bench.subjects import Subject, runs
from scripts.bench.timing import least, once, say, threads

BUDGET = (
    8.0  # seconds for the samples of one method, of each of: search, obvious search, evaluation, accumulating
)
SLOW = 6.0  # seconds of a full pass from which one method's patch is checked against it, and not each one's


@dataclass
class Found:
    """What a method took, on one thread.

    Attributes:
        method: Its name.
        search: Seconds of the fast search, by sample.
        obvious: Seconds of the obvious search of the first of these samples; none where there is one way only.
        agree: In how many of those both found the same change.
        flop: Operations of the algorithm, by sample: whole forward and backward passes.
        corrected: Number of samples corrected.
        evaluation: Seconds of the incremental evaluation of the first patches, by patch.
        full: Seconds of a full pass.
        chain: The non-reloading setting.
    """

    method: str
    search: list[float] = field(default_factory=list)
    obvious: list[float] = field(default_factory=list)
    agree: int = 0
    flop: list[float] = field(default_factory=list)
    corrected: int = 0
    evaluation: list[float] = field(default_factory=list)
    full: float = 0.0
    chain: Chain = field(default_factory=Chain)

    @property
    def search_ratio(self) -> float | None:
        """Seconds of the obvious search over those of the fast one, same samples; None where they are one."""
        count = len(self.obvious)
        return sum(self.obvious) / sum(self.search[:count]) if count else None

    @property
    def median_ratio(self) -> float | None:
        """Median over patches of a full pass over the incremental evaluation."""
        return self.full / statistics.median(self.evaluation) if self.evaluation else None

    @property
    def total_ratio(self) -> float | None:
        """Of the totals over the patches."""
        return self.full * len(self.evaluation) / sum(self.evaluation) if self.evaluation else None


def methods_of(name: str) -> dict[str, Method]:
    """Return every method but the idealized selector, as experiments/conf/method has them for a network."""
    configs = {spec.method["name"]: spec.method for spec in runs("thesis", name)}
    return {key: build(configs[key], "method") for key in method_order(configs)}


def bench(subject: Subject, machine: Machine) -> dict[str, object]:
    """Measure every method on one thread, as `make reproduce` runs them: a process a core; print the tables."""
    say(f"{subject.name}: methods on {len(subject.samples)} samples and {subject.count:,} images, one thread")
    with threads(1):
        forward, _ = passes(subject)
        full, fast = subject.full(), subject.fast(subject.memory // 2)  # accumulating copies what is kept
        for layer in subject.work:  # keeps what small edits need
            for there, _ in subject.edits(layer, 1)[:1]:
                fast.after(there)
        seconds = once(lambda: full.after(subject.dense("lin3")[0]))
        found = []
        for name, method in methods_of(subject.name).items():
            found.append(_measure(subject, name, method, full, fast, not found or seconds < SLOW))
            seconds = min(seconds, found[-1].full or seconds)
        for one in found:
            one.full = seconds
    rows = [row(one, subject, machine) for one in found]
    show(subject, rows, seconds)
    return {
        "network": subject.name,
        "source": subject.source,
        "images": subject.count,
        "errors": subject.errors,
        "threads": 1,
        "full_pass_seconds": seconds,
        "forward_seconds": forward,
        "rows": rows,
    }


def row(found: Found, subject: Subject, machine: Machine) -> dict[str, object]:
    """Return the results as plain values, seconds per sample and ratios."""
    peak, mix = machine.peak[1], targets.MIX.get((subject.name, found.method))
    flop = statistics.fmean(found.flop)
    count = len(found.obvious)
    evaluated = statistics.fmean(found.evaluation) if found.evaluation else None
    every = subject.flop * subject.count
    return {
        "method": found.method,
        "samples": len(found.search),
        "corrected": found.corrected,
        "search": statistics.fmean(found.search),
        "obvious_samples": count,
        "obvious_search": statistics.fmean(found.obvious) if count else None,
        "search_same_samples": statistics.fmean(found.search[:count]) if count else None,
        "search_ratio": found.search_ratio,
        "agree": found.agree,
        "search_share_of_peak": flop / statistics.fmean(found.search) / peak,
        "obvious_search_share_of_peak": (
            statistics.fmean(found.flop[:count]) / statistics.fmean(found.obvious) / peak if count else None
        ),
        "full_evaluation": found.full,
        "patches": len(found.evaluation),
        "evaluation": evaluated,
        "evaluation_median_ratio": found.median_ratio,
        "evaluation_total_ratio": found.total_ratio,
        "full_share_of_peak": every / found.full / peak,
        "evaluation_share_of_peak": every / evaluated / peak if evaluated else None,
        "target_median": mix[0] if mix else None,
        "target_total": mix[1] if mix else None,
        "non_reloading": asdict(found.chain),
    }


def _measure(
    subject: Subject,
    name: str,
    method: Method,
    full: FullEvaluator,
    fast: ForkingEvaluator,
    verified: bool,
) -> Found:
    found = Found(name)
    patches = _search(found, subject, method)
    if obvious.has_one(method):
        _obvious(found, subject, method, patches)
    made = [patch for patch in patches if patch is not None]
    if made and verified:
        kept = []
        found.full = once(lambda: kept.append(full.after(made[0])))
        check(fast.after(made[0]), kept[0], f"a patch of {name}")
    for patch in made:
        found.evaluation.append(least(lambda p=patch: fast.after(p), repeats=3, budget=1.0, warm=False))
        if sum(found.evaluation) > BUDGET:
            break
    found.chain = chain(subject, method, fast.fork(), BUDGET)
    say(f"{subject.name}: {name} done")
    return found


def _search(found: Found, subject: Subject, method: Method) -> list[Patch | None]:
    """Correct samples the fast way; return their patches."""
    problem, patches = subject.problem(), []
    _ = problem.mean_gradient  # BGD-C's, made once a run
    for sample in subject.samples:

        def correct(sample=sample) -> None:
            streams = [rng.stream(0, "method", sample.index)]
            (correction,) = problem.attempt_many(method, [sample], streams)  # as runs do
            patches.append(correction.patch)
            found.flop.append(subject.flop * (correction.forward_passes + 2 * correction.backward_passes))

        first = len(patches)
        found.search.append(least(correct, repeats=3, budget=0.3, warm=not first))
        del patches[first + 1 :], found.flop[first + 1 :]  # every repeat finds the same
        if sum(found.search) > BUDGET:
            break
    found.corrected = sum(patch is not None for patch in patches)
    return patches


def _obvious(found: Found, subject: Subject, method: Method, patches: list[Patch | None]) -> None:
    """Correct the first samples the obvious way, and compare."""
    problem = subject.problem()
    _ = problem.mean_gradient
    for sample, patch in zip(subject.samples, patches, strict=False):
        other = []

        def correct(sample=sample, other=other) -> None:
            with problem.trying() as trial:
                other.append(obvious.correct(method, trial, sample, rng.stream(0, "method", sample.index)))

        found.obvious.append(once(correct))
        found.agree += obvious.same(patch, other[0])
        if sum(found.obvious) > BUDGET:
            break
