"""The smaller tables: eigenvalues, starts, the lecture's toy, corrections of networks that were trained flat."""

from collections.abc import Iterator
from itertools import product

from experiments.report.companions.evidence import SECOND, Evidence
from experiments.report.companions.rules import ACTIVATIONS, RULES, SETS
from experiments.report.numbers import format_number, format_spread
from experiments.report.sheet import Block

DISTANCE = 2.146e-5  # of the dissertation's figure 5.2
STARTS = {"zeros": 50.0, "large": 55.0, "xavier": 99.0, "he": 99.0}  # accuracies that the notes print, in %
BASE = "none"  # the network that the others are compared with
METHODS = {
    "bgd_ii": "BGD-II",
    "bgd_metric": "BGD-II, prior H theta",
    "top_k": "Top-k",
    "least_harm": "Least harm",
}
COLUMNS = ("poc", "parameters", "accuracy", "worst", "survival", "row_accuracy")  # of a method
Table = tuple[list[Block], list[list[object]]]


def eigenvalues(evidence: Evidence) -> Table:
    """Lay out the distances of the two ways to the dense eigenvalues."""
    lines: list[list[str]] = []
    records: list[list[object]] = []
    for row in evidence.rows("eigenvalues"):
        ways = [row.value(f"{way}_distance") for way in ("lanczos", "power")]
        lines.append([row.job.arm, str(DISTANCE), *map(format_number, (*ways, row.value("parameters")))])
        records.append([row.job.arm, DISTANCE, *ways, row.value("parameters")])
    header = ("activation", "printed distance", "Lanczos", "power method", "parameters")
    ends = ("set", "activation", "rule", "largest", "second over largest", "n")
    return [
        Block("Distance to the dense eigenvalues.", header, lines),
        Block("At the end of training.", ends, list(_ends(evidence))),
    ], records


def _ends(evidence: Evidence) -> Iterator[list[str]]:
    """Go through the sets and rules whose eigenvalues were measured."""
    for study, activation, rule in product(SETS, ACTIVATIONS, RULES):
        found = [evidence.spread(study, f"{activation}/{rule}", name) for name in ("eigenvalue", SECOND)]
        if found[0].n:
            yield [SETS[study], activation, RULES[rule], *(each.text for each in found), str(found[0].n)]


def starts(evidence: Evidence) -> Table:
    """Lay out the ranking of initializations and the lecture's toy."""
    lines: list[list[str]] = []
    toys: list[list[str]] = []
    records: list[list[object]] = []
    for arm in _arms(evidence, "starts"):
        ours, said = evidence.spread("starts", arm, "test_accuracy", 100.0), STARTS.get(arm)
        lines.append([arm, "" if said is None else format_number(said), ours.text, str(ours.n)])
        records.append(["starts", arm, said, ours.mean, ours.sd, ours.n])
    for arm in _arms(evidence, "toy"):
        found = [
            evidence.spread("toy", arm, name, factor)
            for name, factor in (("test_accuracy", 100), ("norm", 1))
        ]
        toys.append([arm, "", *(each.text for each in found)])
        records.append(["toy", arm, None, found[0].mean, found[0].sd, found[0].n])
    return [
        Block("Initial weights.", ("start", "printed (%)", "ours, test (%)", "n"), lines),
        Block("The lecture's toy.", ("training", "", "test (%)", "norm"), toys),
    ], records


def corrections(evidence: Evidence) -> Table:
    """Lay out what corrections of networks of matched accuracy cost, by how they were trained."""
    blocks: list[Block] = []
    records: list[list[object]] = []
    for method, title in METHODS.items():
        lines = list(_lines(evidence, method, records))
        blocks.append(Block(f"{title}.", HEADER, lines))
    return blocks, records


PLACE = 4  # of the difference, after ΔTA
HEADER = (
    *(
        "trained with",
        "test accuracy (%)",
        "corrected (%)",
        "parameters",
        "ΔTA (points)",
        "ΔTA less plain training's",
    ),
    *("worst ΔTA", "right in bfloat16 (%)", "in a row, ΔTA"),
)


def _lines(evidence: Evidence, method: str, records: list[list[object]]) -> Iterator[list[str]]:
    for arm in _arms(evidence, "corrections"):
        accuracy = evidence.spread("corrections", arm, "test_accuracy", 100.0)
        found = [
            evidence.spread(
                "corrections", arm, f"{method}.{name}", 100.0 if name in ("poc", "survival") else 1.0
            )
            for name in COLUMNS
        ]
        gap = evidence.gap("corrections", arm, BASE, f"{method}.accuracy")
        texts = [format_spread(each.mean, each.sd) if each.n else each.text for each in (accuracy, *found)]
        texts.insert(PLACE, "" if arm == BASE else gap.text)
        yield [arm, *texts]
        ends = (None, None) if gap.interval is None else (gap.interval.low, gap.interval.high)
        records.append([method, arm, accuracy.mean, *(each.mean for each in found), gap.mean, *ends, gap.n])


def _arms(evidence: Evidence, study: str) -> list[str]:
    return list(dict.fromkeys(row.job.arm for row in evidence.rows(study)))
