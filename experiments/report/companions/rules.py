"""Tables 5.1 and 5.2 of the dissertation: eight learning rules in two regimes, printed values beside ours."""

from collections.abc import Iterator, Mapping

from experiments.report.companions.evidence import Evidence, number, printed, said
from experiments.report.sheet import Block

RULES: Mapping[str, str] = {
    "small_sgd": "SGD, small",
    "large_sgd": "SGD, large",
    "small_metric": "Metric, small",
    "large_metric": "Metric, large",
    "large_l2": "L2",
    "large_selective": "Selective L2",
    "large_l2_stopped": "L2 Stopped",
    "large_l2_stopped_selective": "L2 Stopped Selective",
}
SETS: Mapping[str, str] = {
    "xor": "XOR", "xord": "XORD", "mnist": "MNIST", "synthetic": "Synthetic", "cifar": "CIFAR-10",
}  # fmt: skip
ACTIVATIONS = {"tanh": "Table 5.1, tanh", "relu": "Table 5.2, ReLU"}
# Of our values, by set and printed metric: name and factor. XORD prints sums over 12 and 10 samples.
OURS: Mapping[tuple[str, str], tuple[str, float]] = {
    **{
        (name, part): (f"{part}_accuracy", 1.0)
        for name in ("xor", "mnist", "cifar")
        for part in ("train", "test")
    },
    ("xord", "train"): ("train_loss", 12.0),
    ("xord", "test"): ("test_loss", 10.0),
    **{("synthetic", part): (f"{part}_loss", 1.0) for part in ("train", "test")},
}
SHOWN = ("train", "test", "norm")  # times of an epoch are of another machine
DOUBTFUL = "?"


def blocks(evidence: Evidence) -> tuple[list[Block], list[list[object]], list[str]]:
    """Lay out both tables; the notes are on doubtful cells."""
    lines: dict[str, list[list[str]]] = {name: [] for name in ACTIVATIONS}
    records: list[list[object]] = []
    notes = []
    for study, arm, metric, cells in _rows():
        activation, _, rule = arm.partition("/")
        name, factor = ours_of(study, metric)
        ours = evidence.spread(study, arm, name, factor)
        numbers = number(cells["printed"]), number(cells["printed_sd"])
        mark = DOUBTFUL if cells["doubtful"] else ""
        if mark:
            notes.append(f"{SETS[study]}, {activation}, {RULES[rule]}, {metric}: {cells['doubtful']}")
        lines[activation].append(
            [SETS[study], RULES[rule], metric, said(cells, "printed") + mark, ours.text, str(ours.n)]
        )
        records.append([study, activation, rule, metric, *numbers, ours.mean, ours.sd, ours.n, ours.failed])
    header = ("set", "rule", "metric", "printed", "ours", "n")
    return [Block(f"{title}.", header, lines[name]) for name, title in ACTIVATIONS.items()], records, notes


def ours_of(study: str, metric: str) -> tuple[str, float]:
    """Give the name of our value for a printed metric of a set, and the factor to its unit."""
    return ("norm", 1.0) if metric == "norm" else OURS[study, metric]


def _rows() -> Iterator[tuple[str, str, str, dict[str, str]]]:
    cells = [cell for cell in printed("rules") if cell["metric"] in SHOWN]
    order = [*SETS]
    for cell in sorted(cells, key=lambda each: order.index(each["study"])):
        yield cell["study"], cell["arm"], cell["metric"], cell
