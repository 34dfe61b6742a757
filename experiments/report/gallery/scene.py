"""The samples of a gallery: a rule that chooses them, and all that their cards show, gathered from the runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from bgd.rng import stream
from experiments.records.schema import CORRECTED, PROBE, Header, Row, Run, subject
from experiments.report.frames import ReportError
from experiments.report.surveys import by_network

REFERENCE_METHOD, REFERENCE_SEED = "bgd_ii", 0  # of the run whose samples are chosen from
PROBE_NAME = "portraits"
METHODS = ("bgd_ii", "bgd_c", "bgd_i", "bgd_norm", "retrain", "fine_tune", "top_k", "l1", "random")
CLASSES = 10

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """An order of the samples.

    Attributes:
        name: For a heading.
        words: What comes first, in words: "the largest loss of N0".
        order: Sorts the rows of a run, given in the order of its samples; ties go to the earlier sample.
    """

    name: str
    words: str
    order: Callable[[list[Row]], list[Row]]


def _loss(row: Row) -> float:
    """Return N0's loss on the sample; one that is not finite is larger than any other."""
    return math.inf if row.sample_loss_before is None else row.sample_loss_before


def _at_random(rows: list[Row]) -> list[Row]:
    return [rows[place] for place in stream(0, "gallery").permutation(len(rows))]


RULES = (
    Rule("easiest", "the smallest loss of N0", partial(sorted, key=_loss)),
    Rule("hardest", "the largest loss of N0", partial(sorted, key=lambda row: -_loss(row))),
    Rule(
        "most harmful",
        "the lowest test accuracy after BGD-II corrected it",
        partial(sorted, key=lambda row: row.figures.test_accuracy),
    ),
    Rule("random", "drawn at random", _at_random),
)


def choose(rows: Sequence[Row], each: int) -> list[tuple[Rule, Row]]:
    """Return the samples of a run that `RULES` choose, `each` or as many as are left, with their rule, none twice."""
    ordered = sorted(rows, key=lambda row: row.position)
    chosen: list[tuple[Rule, Row]] = []
    for rule in RULES:
        taken = {row.position for _, row in chosen}
        free = [row for row in rule.order(ordered) if row.position not in taken]
        chosen += [(rule, row) for row in free[:each]]
    return chosen


@dataclass(frozen=True)
class Portrait:
    """What the probe `portraits` keeps of a sample: pixels (side, side) in [0, 255], ink is large.

    The probabilities (classes,) are those of N0; None where a logit is not finite.
    """

    pixels: Values
    probabilities: Values | None


@dataclass(frozen=True)
class Scene:
    """A sample and what the methods did.

    Attributes:
        network: Name.
        number, count: Of the card, from 1, and of all cards of the network.
        rule: What chose the sample.
        row, header: Of the sample in the run that was chosen from, that of BGD-II, and of this run.
        portrait: None where the probe has not seen the sample.
        rows: By method of `METHODS`; one without a run is not in it.
    """

    network: str
    number: int
    count: int
    rule: Rule
    row: Row
    portrait: Portrait | None
    rows: Mapping[str, Row]
    header: Header

    @property
    def title(self) -> str:
        """The mistake in words: "4 taken for 9"."""
        return f"{self.row.label} taken for {class_name(self.row.prediction_before)}"

    @property
    def name(self) -> str:
        """Of the card's file and its anchor: `gallery_mlp_01`."""
        return card_name(self.network, self.number)

    @property
    def base_probabilities(self) -> Values | None:
        """(classes,) of N0; None where they are not known."""
        return None if self.portrait is None else self.portrait.probabilities

    def accuracy_change(self, row: Row) -> float:
        """Return dTA of a row, accuracies in [0, 1] (section 4.2, metric 4)."""
        return round(row.figures.test_accuracy - self.header.figures.test_accuracy, 12)


def card_name(network: str, number: int) -> str:
    """Return the name of a card's file without its ending."""
    return f"gallery_{network}_{number:02d}"


def class_name(prediction: int) -> str:
    """Return a prediction for people; -1 stands for a network whose logits are not finite."""
    return "nothing" if prediction < 0 else str(prediction)


def loss_text(row: Row, shown: Callable[[float], str]) -> str:
    """Return N0's loss on a sample for people."""
    return "not finite" if row.sample_loss_before is None else shown(row.sample_loss_before)


def is_corrected(row: Row) -> bool:
    """Return whether the method corrected the sample."""
    return row.outcome == CORRECTED


def probabilities(logits: Sequence[float | None]) -> Values | None:
    """Return the softmax of logits (classes,), None where one is not finite."""
    values = np.array(logits, dtype=np.float64)
    return softmax(values) if values.size and np.isfinite(values).all() else None


def scenes(runs: Sequence[Run], network: str, each: int) -> list[Scene]:
    """Return the scenes of a network, `each` for every rule; none where BGD-II has no run to choose from.

    Raises:
        ReportError: A method has two runs, runs start from different N0, or a portrait is not square.
    """
    by_method = _reloading_runs(runs, network)
    if REFERENCE_METHOD not in by_method:
        return []
    reference = by_method[REFERENCE_METHOD]
    faces = _portraits(runs, network, reference.header.base.get("id"))
    rows = {method: {row.index: row for row in run.rows} for method, run in by_method.items()}
    choices = choose(reference.rows, each)
    return [
        Scene(
            *(network, number, len(choices), rule, row, faces.get(row.index)),
            {method: found[row.index] for method, found in rows.items() if row.index in found},
            reference.header,
        )
        for number, (rule, row) in enumerate(choices, 1)
    ]


def _reloading_runs(runs: Sequence[Run], network: str) -> dict[str, Run]:
    """Return the run of each method that has one in the reloading setting with the seed of the choice."""
    found: dict[str, Run] = {}
    for run in runs:
        spec = run.header.spec
        *where, method = subject(spec)
        if PROBE in spec or spec["seed"] != REFERENCE_SEED or where != [network, "reloading"]:
            continue
        if method in METHODS and method in found:
            other = found[method].header.run_id
            raise ReportError(f"two runs of {method} on {network}: {other} and {run.header.run_id}")
        found[method] = run
    found = {method: found[method] for method in METHODS if method in found}
    if len({run.header.base.get("id") for run in found.values()}) > 1:
        raise ReportError(f"the reloading runs on {network} start from different N0")
    return found


def _portraits(runs: Sequence[Run], network: str, base_id: object) -> dict[int, Portrait]:
    """Return what the probe has of the N0 that the corrections start from, by index into the test set."""
    run = by_network(runs, PROBE_NAME).get(network)
    if run is None:
        return {}
    if run.header.base.get("id") != base_id:
        raise ReportError(f"the portraits of {network} are of another N0 than its corrections")
    return {item.index: _portrait(item.values) for item in run.measurements}


def _portrait(values: Mapping[str, Sequence[float]]) -> Portrait:
    pixels = np.array(values["pixels"], dtype=np.float64)
    side = math.isqrt(pixels.size)
    if side * side != pixels.size:
        raise ReportError(f"a portrait has {pixels.size} pixels: not a square image")
    return Portrait(pixels.reshape(side, side), probabilities(values["logits"]))
