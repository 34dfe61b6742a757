"""Whether a run is what its header says: the number of its rows and their order, and figures that fit together.

A run with checksums has its figures held by those; `check_figures` is for records from before there were any.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from experiments.records.schema import (
    ALREADY_RIGHT,
    CORRECTED,
    PROBE,
    UNCORRECTED,
    Figures,
    Generality,
    Header,
    Measurement,
    RecordError,
    Row,
    Run,
)

OUTCOMES = (ALREADY_RIGHT, CORRECTED, UNCORRECTED)
DIGITS = 1e-6  # records have 10 significant digits


def check_header(header: Header) -> None:
    """Hold the header of a complete run to itself.

    Raises:
        RecordError: It says something that cannot be.
    """
    counts = {key: getattr(header, key) for key in ("samples", "train_images", "test_images")}
    for key, value in counts.items():
        if type(value) is not int or value < 0:
            raise RecordError(f"{key} is {value!r}, which is no number of things")
    seconds = header.summary.get("seconds")
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
        raise RecordError(f"summary.seconds is {seconds!r}, which is no time")
    for fault in _accuracies(header.figures, header):
        raise RecordError(f"of N0: {fault}")


def checked(header: Header, read: Callable[[], Sequence[Row | Measurement]], where: str, summed: bool) -> Run:
    """Read the rows of a complete run and hold them to their header.

    Args:
        header: Of the run.
        read: Reads its rows.
        where: What the run is called in an error.
        summed: Whether checksums hold its figures already.

    Raises:
        RecordError: A row cannot be read, is gone, there twice, of another kind of run or contradicts itself.
    """
    try:
        rows = read()
        check_order(header, rows)
        if not summed:
            check_figures(header, rows)
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error
    return Run.of(header, rows)


def check_order(header: Header, records: Sequence[Row | Measurement]) -> None:
    """Hold the rows of a complete run to their header by number, kind and order.

    Raises:
        RecordError: A row is gone, there twice, or of another kind of run.
    """
    if len(records) != header.samples:
        raise RecordError(f"{len(records)} rows of {header.samples}")
    seen: set[int] = set()
    for place, record in enumerate(records):
        check_place(header, place, record, seen)


def check_place(header: Header, place: int, record: Row | Measurement, seen: set[int]) -> None:
    """Hold one row to its place.

    Args:
        header: Of the run.
        place: Which row it is, from 0.
        record: The row.
        seen: Indices of the samples before; that of this one is added.

    Raises:
        RecordError: It does not belong there.
    """
    kind = Measurement if PROBE in header.spec else Row
    if not isinstance(record, kind):
        raise RecordError(f"row {place} is no {kind.__name__.lower()}")
    if record.position != place or place >= header.samples:
        raise RecordError(f"row {place} of {header.samples} has position {record.position}")
    if record.index in seen:
        raise RecordError(f"row {place}: sample {record.index} is there a second time")
    seen.add(record.index)


def check_figures(header: Header, records: Sequence[Row | Measurement]) -> None:
    """Hold the figures of rows to each other.

    Raises:
        RecordError: Two of them do not go together.
    """
    for record in records:
        try:
            for fault in _faults(header, record) if isinstance(record, Row) else _times(record.seconds):
                raise RecordError(f"row {record.position}: {fault}")
        except (TypeError, ValueError, LookupError, AttributeError) as error:  # text for a number, say
            raise RecordError(f"row {record.position}: {error}") from error


def _faults(header: Header, row: Row) -> Iterator[str]:
    """Yield what is wrong with a row, in words."""
    if row.outcome not in OUTCOMES:
        yield f"outcome is {row.outcome!r}"
    if row.outcome != UNCORRECTED and row.prediction_after != row.label:
        yield f"{row.outcome}, but the prediction is {row.prediction_after} and the label {row.label}"
    if (row.l0 > 0) != (row.outcome == CORRECTED):
        yield f"{row.outcome}, but l0 is {row.l0}"
    if not row.l0 <= row.altered <= header.base["parameters"]:
        yield f"l0 is {row.l0}, altered {row.altered}, of {header.base['parameters']} parameters"
    yield from _sizes(row)
    yield from _accuracies(row.figures, header)
    effects = row.side_effects
    moved = (row.figures.test_accuracy - header.figures.test_accuracy) * header.test_images
    if not abs(moved - (effects.fixed - effects.broken)) < 0.01:
        yield f"fixed {effects.fixed} and broken {effects.broken}, but {moved:.2f} more images are right"
    images = (effects.broken, effects.fixed, effects.agreeing, effects.untouched_right)
    if not all(0 <= count <= header.test_images for count in images):
        yield f"side effects on {max(images)} of {header.test_images} images"
    if row.generality is not None:
        yield from _alike(row.generality)
    yield from _times(row.search_seconds, row.evaluation_seconds or 0)  # a sweep's leaves out the second


def _sizes(row: Row) -> Iterator[str]:
    """Yield what is wrong with the size of a row's change."""
    if row.layers and sum(layer[0] for layer in row.layers.values()) != row.l0:
        yield f"the layers do not add up to l0 = {row.l0}"
    if row.patch and any(len(values) != row.l0 for values in row.patch.values()):
        yield f"the patch does not have l0 = {row.l0} values"
    least, more = 1 - DIGITS, 1 + DIGITS
    if row.l1 is None or row.linf is None:  # a sweep's, which leaves them out
        return
    if row.l0 and not (
        row.linf * least <= row.l2 <= row.l1 * more and row.l1 * least <= math.sqrt(row.l0) * row.l2
    ):
        yield f"l1 {row.l1}, l2 {row.l2} and linf {row.linf} are not those of {row.l0} values"


def _accuracies(figures: Figures, header: Header) -> Iterator[str]:
    parts = (("train", header.train_images), ("test", header.test_images))
    for name, images in parts:
        accuracy, loss = getattr(figures, f"{name}_accuracy"), getattr(figures, f"{name}_loss")
        right = accuracy * images
        if not 0 <= accuracy <= 1 or not abs(right - round(right)) < 0.01:
            yield f"{name}_accuracy is {accuracy}, which is no share of {images} images"
        if loss is not None and not 0 <= loss < math.inf:
            yield f"{name}_loss is {loss}"


def _alike(generality: Generality) -> Iterator[str]:
    for name, (images, *right) in vars(generality).items():
        if not all(0 <= count <= images for count in right):
            yield f"{name}: {right} right of {images}"


def _times(*seconds: float) -> Iterator[str]:
    if not all(0 <= value < math.inf for value in seconds):
        yield f"{min(seconds)} is no time"
