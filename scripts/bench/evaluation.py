"""Evaluating an edit of each layer: the full pass beside the incremental evaluator, and the targets."""

import math
import statistics
from dataclasses import asdict, dataclass
from time import perf_counter

from bgd.evaluation import Evaluation, ForkingEvaluator, FullEvaluator
from bgd.patch import Patch
from scripts.bench import tables, targets
from scripts.bench.machine import Machine
from scripts.bench.subjects import Subject
from scripts.bench.tables import milliseconds, percent, times
from scripts.bench.timing import least, once, say

COUNTS = (1, 5)  # weights of an edit
BUDGET = 4.0  # seconds for one number of one row; at least one run of each is made
SLOW = 10.0  # seconds of a full pass from which not every edit is checked against one

Pair = tuple[Patch, Patch]


class Different(AssertionError):
    """The two ways do not say the same."""


@dataclass(frozen=True)
class Row:
    """An edit of a layer.

    Attributes:
        edit, weights: The lowest layer edited, and how many of its weights.
        full, reloading, accumulating: Seconds: of the obvious way; of the fast one; of making the edited network the
            new base and having its figures.
        reloading_ratio, accumulating_ratio: Of the obvious way's seconds to the fast one's.
        target: Of the ratio when reloading.
        holds: Whether it is reached.
        floor: Share of a full pass's operations that the edit cannot avoid.
        share_of_peak: Of the unavoidable operations in the time taken, of the machine's peak.
        keeping: Seconds of the first evaluation beyond those of the next: values are kept then, once.
    """

    edit: str
    weights: int
    full: float
    reloading: float
    accumulating: float
    reloading_ratio: float
    accumulating_ratio: float
    target: float | None
    holds: bool | None
    floor: float
    share_of_peak: float
    keeping: float


def check(fast: Evaluation, full: Evaluation, what: str) -> None:
    """Check that two evaluations are the same: losses to rounding, predictions but for ties.

    Raises:
        Different: They are not.
    """
    got, wanted = float(fast.losses.mean()), float(full.losses.mean())
    if math.isfinite(got) != math.isfinite(wanted) or abs(got - wanted) > 1e-5 * abs(wanted) + 1e-9:
        raise Different(f"{what}: the mean loss is {got}, {wanted} by the full pass")
    others = int((fast.predictions != full.predictions).sum())
    if others > len(full.predictions) / 5000 + 1:
        raise Different(f"{what}: {others} of {len(full.predictions)} predictions differ from the full pass'")


def accumulating(fast: ForkingEvaluator, pairs: list[Pair], budget: float = BUDGET) -> float:
    """Return the seconds of a move to a patched network and its evaluation; the network ends as it was.

    The median over some edits of the least of some times of each, there and back.
    """

    def moved(patch: Patch) -> float:
        return once(lambda: (fast.advance(patch), fast.base))

    each: list[float] = []
    started = perf_counter()
    for pair in pairs:
        seconds: list[float] = []
        while not seconds or (len(seconds) < 6 and sum(seconds) < budget / 6):
            seconds += [moved(patch) for patch in pair]
        each.append(min(seconds))
        if perf_counter() - started > budget:
            break
    return statistics.median_low(each)


def reloading(fast: ForkingEvaluator, pairs: list[Pair], budget: float = BUDGET) -> tuple[float, float]:
    """Return the seconds of an evaluation, and what the first one took besides, to keep values.

    The median over some edits of the least of some times of each.
    """
    first = once(lambda: fast.after(pairs[0][0]))
    each: list[float] = []
    started = perf_counter()
    for there, _ in pairs:
        each.append(least(lambda p=there: fast.after(p), repeats=6, budget=budget / 6, warm=False))
        if perf_counter() - started > budget:
            break
    return statistics.median_low(each), max(0.0, first - each[0])


def bench(subject: Subject, machine: Machine) -> dict[str, object]:
    """Measure an edit of each layer of a network, the last layer first; print the table."""
    say(f"{subject.name}: evaluation of {subject.count:,} images, {subject.source}")
    full, fast = subject.full(), subject.fast()
    seconds = least(lambda: full.after(subject.dense("lin3")[0]), repeats=2, budget=BUDGET)
    layers = list(reversed(subject.work))
    edits = {(layer, n): subject.edits(layer, n) for layer in layers for n in COUNTS}
    edits[targets.FINE_TUNE, subject.network.lin2.weight.numel()] = [subject.dense("lin2")]
    rows = []
    for (layer, count), pairs in edits.items():
        if pairs:  # a layer without gradient has no edit
            rows.append(_row(subject, machine, layer, count, pairs, seconds, fast))
            if count == COUNTS[-1] and (seconds < SLOW or layer in ("lin1", "conv3")):
                seconds = min(seconds, _checked(full, fast, pairs[0][0], layer))
    rows = [_with_full(row, seconds) for row in rows]
    rate = subject.flop * subject.count / seconds
    share = rate / machine.peak[machine.threads]
    _print(subject, rows, seconds, rate, share)
    return {
        "network": subject.name,
        "source": subject.source,
        "images": subject.count,
        "threads": machine.threads,
        "flop_per_image": subject.flop,
        "full_pass_seconds": seconds,
        "full_pass_gflops": rate / 1e9,
        "full_pass_share_of_peak": share,
        "rows": [asdict(row) for row in rows],
    }


def _checked(full: FullEvaluator, fast: ForkingEvaluator, patch: Patch, layer: str) -> float:
    """Compare the two ways on a patch; return the seconds of the full one."""
    found: list[Evaluation] = []
    seconds = once(lambda: found.append(full.after(patch)))
    check(fast.after(patch), found[0], f"an edit of {layer}")
    return seconds


def _row(
    subject: Subject,
    machine: Machine,
    layer: str,
    count: int,
    pairs: list[Pair],
    full: float,
    fast: ForkingEvaluator,
) -> Row:
    one, keeping = reloading(fast, pairs)
    moved = accumulating(fast, pairs)
    say(f"{subject.name}: {count:,} of {layer}: {one * 1e3:.1f} ms, accumulating {moved * 1e3:.1f} ms")
    target = targets.EDITS[subject.name].get(layer)
    floor = subject.floor(layer.partition(",")[0])
    share = floor * subject.flop * subject.count / one / machine.peak[machine.threads]
    return Row(
        edit=layer,
        weights=count,
        full=full,
        reloading=one,
        accumulating=moved,
        reloading_ratio=full / one,
        accumulating_ratio=full / moved,
        target=target,
        holds=targets.holds(full / one, target),
        floor=floor,
        share_of_peak=share,
        keeping=keeping,
    )


def _with_full(row: Row, full: float) -> Row:
    """Return a row with the least time of a full pass that was seen: the pass is the same for every edit."""
    ratio = full / row.reloading
    fields = asdict(row) | {"full": full, "reloading_ratio": ratio, "holds": targets.holds(ratio, row.target)}
    return Row(**(fields | {"accumulating_ratio": full / row.accumulating}))


def _print(subject: Subject, rows: list[Row], seconds: float, rate: float, share: float) -> None:
    print(f"\n{subject.name}: evaluation, {subject.count:,} images, {subject.source}")
    print(
        f"  full pass {milliseconds(seconds)} ms, {subject.flop / 1e6:.4g} MFLOP an image,"
        f" {rate / 1e9:.1f} GFLOP/s, {percent(share)} of the peak"
    )
    keeping = sum(row.keeping for row in rows)
    print(
        f"  values that are kept for it: {keeping:.3g} s once, as long as {keeping / seconds:.1f} full passes"
    )
    headings = ("lowest layer", "weights", "full ms", "reloading ms", "ratio", "target", "holds")
    headings += ("accumulating ms", "ratio", "cannot be avoided", "of peak")
    cells = [
        (
            row.edit,
            f"{row.weights:,}",
            milliseconds(row.full),
            milliseconds(row.reloading),
            times(row.reloading_ratio),
            "-" if row.target is None else f"{row.target:g}x",
            targets.word(row.holds),
            milliseconds(row.accumulating),
            times(row.accumulating_ratio),
            percent(row.floor),
            percent(row.share_of_peak),
        )
        for row in rows
    ]
    print(tables.text(headings, cells))
    print(
        "  `cannot be avoided`: operations behind the second changed layer, of a full pass's; `of peak`: at what rate"
    )
    if note := targets.note(subject.count):
        print(note)
    print()
