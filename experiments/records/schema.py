"""The only meeting point of running and reporting: a run's header and its rows, one per sample.

Nothing here imports torch.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")

SCHEMA = 2  # version of header and row; raised when a reader of the old ones would misread the new

ALREADY_RIGHT, CORRECTED, UNCORRECTED = "already_right", "corrected", "uncorrected"


class RecordError(RuntimeError):
    """A record cannot be read or is not what it says it is."""


@dataclass(frozen=True)
class Figures:
    """How a network does on D and on the test set.

    Attributes:
        train_loss: Mean cross-entropy over D, in nats. None where it is not finite.
        train_accuracy: In [0, 1], over D. An image with a logit that is not finite counts as wrong.
        test_loss: As `train_loss`, over the test images.
        test_accuracy: As `train_accuracy`, over the test images.
        released_before: Sum over batches of 64 of the mean loss, divided by |D|: the released code's loss
            before a correction.
        released_after: Mean loss of the last batch, divided by |D|: the released code's loss after one.
        train_loss_error, train_accuracy_error: Standard errors, where those two are estimated from a part of D
            (`protocol.stratified`); None, and no key, where they are over all of it.

    Committed records of a sweep leave out `released_before`: it is None even where `train_loss` is finite.
    """

    train_loss: float | None
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float
    released_before: float | None
    released_after: float | None
    train_loss_error: float | None = None
    train_accuracy_error: float | None = None


@dataclass(frozen=True)
class SideEffects:
    """What a correction did to the predictions of the test images, against N0's.

    The headers' `Baseline` has how many images each number is out of. A prediction is -1 where a logit is not finite.

    Attributes:
        broken, fixed: Test images that went from right to wrong, and from wrong to right. `broken` over all is the
            negative flip rate (Yan et al., CVPR 2021).
        agreeing: Test images with the same prediction as N0: over all of them, the locality of the correction.
        agreeing_close: Those of them that are close (`Baseline.close_images`).
        untouched_right: Test images, not samples of the run, that are predicted right.
        confusion: What changed in the confusion matrix: `[label, prediction, count after - count of N0]` for each
            cell that differs.
    """

    broken: int
    fixed: int
    agreeing: int
    agreeing_close: int
    untouched_right: int
    confusion: list[list[int]]


@dataclass(frozen=True)
class Accumulated:
    """How far the network has gone from N0, in the non-reloading setting.

    Attributes:
        earlier: Samples corrected before this one.
        earlier_right: How many of those the network gets right after this one's turn: over `earlier`, retention.
        union: Parameters that any correction so far has changed.
        drift: L2 norm of the difference of all parameters to N0's.
    """

    earlier: int
    earlier_right: int
    union: int
    drift: float | None


@dataclass(frozen=True)
class Generality:
    """Whether a correction holds for what is like the sample, in the reloading setting.

    Each is `[images, how many of them N0 gets right, how many the corrected network gets right]`; how the images are
    made is in `protocol.generality`. They are the same for every method and seed.

    Attributes:
        shifts: The sample moved by one pixel in each of 8 directions.
        rotations: The sample turned by 5 and 10 degrees either way.
        noise: The sample with Gaussian noise, 8 draws.
        same_confusion: Other test images of the sample's label that N0 mistakes for the class that it mistakes the
            sample for; it gets 0 of them right.
    """

    shifts: list[int]
    rotations: list[int]
    noise: list[int]
    same_confusion: list[int]


@dataclass(frozen=True)
class Row:
    """What happened to one sample.

    Attributes:
        position: Place in the order of samples, from 0.
        index: Index into the test set.
        label: The right class.
        prediction_before: Of the network the sample met: N0, or the current one in the non-reloading setting.
        prediction_after: After the correction, or the same where it failed.
        outcome: `already_right` (counts as correct, changes nothing), `corrected` or `uncorrected`
            (the network is left unchanged).
        reason: Why it failed, in words; empty otherwise.
        altered: Number of parameters the method altered, the numerator of POPA; 0 where nothing changed.
        l0: Number of parameters whose value differs.
        l1, l2, linf: Norms of the change.
        layers: Of each tensor with a changed value, how many values differ and the L2 and Linf norm of the change.
        steps: Iterations of the search, or gradient steps.
        forward_passes, backward_passes: On the one sample.
        search_seconds, evaluation_seconds: Wall time; that of `generality` is in neither.
        sample_loss_before, sample_loss_after: Cross-entropy of the sample, in nats.
        logits_after: The sample's logits (C,) to 6 digits, None in the place of one that is not finite.
        figures: Of the network after the sample.
        side_effects: On the test images.
        accumulated: Since N0; None in the reloading setting.
        patch: `{"index": [...], "old": [...], "new": [...]}` with positions in the flat vector of all
            parameters; None where more than `PATCH_LIMIT` values change or nothing does.
        generality: On images like the sample; None in the non-reloading setting, where nothing was corrected, and in
            rows from before it was measured, which have no such key.
        survival: By how many logits the label leads every other class in the corrected network, by the arithmetic that
            it runs in (`bgd.arithmetic`), "own" for its own: above 0 the correction survives there. The value of an
            arithmetic is None where a logit is not finite. None where nothing was corrected, and in rows of runs that
            do not measure it, which have no such key.

    Committed records of a sweep leave out what `records.columns.LEFT_OUT` names: the lists, which are empty there, and
    the numbers `l1`, `linf`, `evaluation_seconds` and `figures.released_before`, which are None.
    """

    position: int
    index: int
    label: int
    prediction_before: int
    prediction_after: int
    outcome: str
    reason: str
    altered: int
    l0: int
    l1: float | None
    l2: float
    linf: float | None
    layers: dict[str, list[float]]
    steps: int
    forward_passes: int
    backward_passes: int
    search_seconds: float
    evaluation_seconds: float | None
    sample_loss_before: float | None
    sample_loss_after: float | None
    logits_after: list[float | None]
    figures: Figures
    side_effects: SideEffects
    accumulated: Accumulated | None = None
    patch: dict[str, list[float]] | None = None
    generality: Generality | None = None
    survival: dict[str, float | None] | None = None


ERRORS = ("train_loss_error", "train_accuracy_error")
PATCH_LIMIT = 1000  # values; larger patches are not kept in a row

NON_RELOADING = "non_reloading"  # the setting whose samples depend on those before them
PROBE = "probe"  # in the place of a setting, where a run measures samples instead of correcting them


@dataclass(frozen=True)
class Measurement:
    """What a probe found at one sample: the row of a run that corrects nothing.

    Attributes:
        position: Place in the order of samples, from 0.
        index: Index into the test set.
        label: The right class.
        seconds: Wall time.
        values: Columns of equal or different length by name, as the probe's docstring has them.
    """

    position: int
    index: int
    label: int
    seconds: float
    values: dict[str, list[Any]]


@dataclass(frozen=True)
class Baseline:
    """N0 on the test images: what `SideEffects` are counted against.

    Attributes:
        close_images: How many images are close: the tenth in which the two largest logits of N0 differ least.
        close_margin: The largest such difference among them, in logits.
        untouched_images: How many test images are not samples of the run.
        untouched_right: How many of those N0 gets right.
        confusion: `[label, prediction, count]` for each cell of N0's confusion matrix that is not 0.
    """

    close_images: int
    close_margin: float | None
    untouched_images: int
    untouched_right: int
    confusion: list[list[int]]


@dataclass(frozen=True)
class Header:
    """What a run was and on what it ran.

    Attributes:
        run_id: Hash of `spec`, also the folder's name.
        spec: Everything that can change a number: `network`, `method`, `setting` (each with its `name`),
            `scale`, `dataset`, `seed`, `order`, `versions`, `replica` where it is not N0 itself, and `goal` and
            `survival` where they are not empty. A run of
            measurements has `probe` in place of `method`, `setting` and `seed`.
        base: The N0: `id`, `sha256`, `errors` (how many test images it gets wrong), `expected_errors`
            (`[low, high]`), `parameters` (how many it has) and `tensors` (the shape of each, in the order of
            the flat vector). Of a replica: `replica_sha256`, its own; `errors` is its own, too.
        figures: Of N0.
        baseline: Of N0 too.
        samples: How many samples the run has.
        train_images, test_images: How many images the figures are over.
        train_part: How many of D rows estimate those over D from; None, and no key, for all.
        provenance: Versions, device, threads, the code's revision: what may matter to a reader but is no part of
            the identity.
        summary: Written at the end: `retained`, the share of the samples that the last network gets right
            (None in the reloading setting), and `seconds`.
    """

    run_id: str
    spec: dict[str, Any]
    base: dict[str, Any]
    figures: Figures
    baseline: Baseline
    samples: int
    train_images: int
    test_images: int
    provenance: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA
    train_part: int | None = None


@dataclass(frozen=True)
class Run:
    """A complete run: of corrections, with rows, or of a probe, with measurements."""

    header: Header
    rows: tuple[Row, ...] = ()
    measurements: tuple[Measurement, ...] = ()

    @classmethod
    def of(cls, header: Header, records: Iterable[Row | Measurement]) -> "Run":
        """Sort the records of a run by what they are."""
        every = tuple(records)
        rows = tuple(record for record in every if isinstance(record, Row))
        return cls(header, rows, tuple(record for record in every if isinstance(record, Measurement)))


def subject(spec: dict[str, Any]) -> tuple[str, str, str]:
    """Return the names of network, setting and method in a header's `spec`; of a probe: network, "probe", probe."""
    if PROBE in spec:
        return spec["network"]["name"], PROBE, spec[PROBE]["name"]
    return spec["network"]["name"], spec["setting"]["name"], spec["method"]["name"]


def finite(value: float) -> float | None:
    """Return the value, None where it is not finite: JSON has no word for it."""
    return float(value) if math.isfinite(value) else None


def header_from(value: dict[str, Any]) -> Header:
    """Return the header in a JSON object.

    Raises:
        RecordError: It was written by another schema.
    """
    if value.get("schema") != SCHEMA:
        raise RecordError(f"record has schema {value.get('schema')!r}, this code reads {SCHEMA}")
    figures, baseline = Figures(**value["figures"]), Baseline(**value["baseline"])
    return Header(**{**value, "figures": figures, "baseline": baseline})


def row_from(value: dict[str, Any]) -> Row | Measurement:
    """Return the row or the measurement in a JSON object."""
    if "figures" not in value:
        return Measurement(**value)
    accumulated, generality = value["accumulated"], value.get("generality")
    parts = {
        "figures": Figures(**value["figures"]),
        "side_effects": SideEffects(**value["side_effects"]),
        "accumulated": None if accumulated is None else Accumulated(**accumulated),
        "generality": None if generality is None else Generality(**generality),
    }
    return Row(**{**value, **parts})


def header_in(line: bytes | str) -> Header:
    """Return the header in a line of JSON.

    Raises:
        RecordError: It is none, or was written by another schema.
    """
    return understood(line, header_from, "header")


def row_in(line: bytes | str) -> Row | Measurement:
    """Return the row or the measurement in a line of JSON.

    Raises:
        RecordError: It is neither.
    """
    return understood(line, row_from, "row")


def understood(line: bytes | str, make: Callable[[dict[str, Any]], T], kind: str) -> T:
    """Make something of a line of JSON.

    Args:
        line: With an object.
        make: From that object to the thing.
        kind: What the thing is called in an error.

    Raises:
        RecordError: The line is no JSON, or `make` can do nothing with it.
    """
    try:
        return make(json.loads(line))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise RecordError(f"no {kind} can be read there ({error})") from error


def dump(value: Header | Row | Measurement) -> str:
    """Return a header, row or measurement as one line of JSON."""
    return compact(plain(value)) + "\n"


def compact(value: Any) -> str:
    """Return the shortest JSON text of a value, finite numbers only."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def plain(value: Header | Row | Measurement) -> dict[str, Any]:
    """Return a header, row or measurement as a JSON object, its numbers with the digits that records keep.

    What is not measured in every run has no key where it is None, so that a record from before is written as it was
    read.
    """
    found: dict[str, Any] = _rounded(value)
    places = ((found, ("generality", "survival", "train_part")), (found.get("figures", {}), ERRORS))
    for place, keys in places if not isinstance(value, Measurement) else ():
        for key in keys:
            if place.get(key, 0) is None:
                del place[key]
    return found


def _rounded(value: Any) -> Any:
    """Return a record as objects of JSON, every number to 10 significant digits.

    That is more than float32 and any measurement here have.
    """
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, (int, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if is_dataclass(value):
        return {key: _rounded(item) for key, item in vars(value).items()}
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value
