"""What a search is made of: a forward pass of one sample, a gradient, draws of parameters."""

from bgd import rng
from bgd.methods.bgd.prior import GradientPrior, Magnitude, Sampler
from scripts.bench import tables
from scripts.bench.machine import Machine
from scripts.bench.subjects import Subject
from scripts.bench.tables import milliseconds, percent, times
from scripts.bench.timing import least, say, threads

DRAWS = 20


def bench(subject: Subject, machine: Machine) -> dict[str, object]:
    """Measure on one thread, as a search runs; print the table."""
    say(f"{subject.name}: what a search is made of")
    with threads(1):
        forward, backward = passes(subject)
        obvious, fast = _draws(subject)
    peak, weights = machine.peak[1], sum(p.nbytes for p in subject.network.parameters())
    rows = [
        ("one forward pass", milliseconds(forward), "same", "-", percent(subject.flop / forward / peak)),
        ("one gradient", milliseconds(backward), "same", "-", percent(3 * subject.flop / backward / peak)),
        (f"{DRAWS} draws", milliseconds(obvious), milliseconds(fast), times(obvious / fast), "-"),
    ]
    print(f"\n{subject.name}: what a search is made of, one sample, one thread")
    print(tables.text(("", "obvious ms", "fast ms", "ratio", "of peak"), rows))
    read = weights / forward / machine.bandwidth
    print(
        f"  a forward pass reads {weights / 1e6:.3g} MB of parameters: at {100 * read:.0f} % of the rate of a copy\n"
    )
    return {
        "network": subject.name,
        "source": subject.source,
        "threads": 1,
        "forward_seconds": forward,
        "gradient_seconds": backward,
        "forward_share_of_peak": subject.flop / forward / peak,
        "gradient_share_of_peak": 3 * subject.flop / backward / peak,
        "forward_share_of_copy_bandwidth": read,
        "draws": DRAWS,
        "draws_obvious_seconds": obvious,
        "draws_fast_seconds": fast,
        "draws_ratio": obvious / fast,
    }


def passes(subject: Subject) -> tuple[float, float]:
    """Return the seconds of a forward pass of one sample, and of its gradient."""
    with subject.problem().trying() as trial:
        sample = subject.samples[0]
        forward = least(lambda: trial.answer(sample), repeats=50, budget=0.5)
        backward = least(lambda: trial.gradient(sample), repeats=50, budget=1.0)
    return forward, backward


def _draws(subject: Subject) -> tuple[float, float]:
    """Return the seconds of draws without replacement: numpy's choice with the drawn set to 0, and the sampler."""
    with subject.problem().trying() as trial:
        prior = GradientPrior().weights(Magnitude(trial.gradient(subject.samples[0]), trial.space))
        weights = prior.whole()

    def obvious() -> None:
        left, stream = weights.double().numpy().copy(), rng.stream(0)
        for _ in range(DRAWS):
            left[stream.choice(len(left), p=left / left.sum())] = 0.0

    def fast() -> None:
        sampler = Sampler(prior, rng.stream(0))
        for _ in range(DRAWS):
            sampler.draw()

    return least(obvious, repeats=1, warm=False), least(fast, repeats=10, budget=1.0)
