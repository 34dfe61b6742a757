"""What was measured of the methods, on the console."""

import statistics
from collections.abc import Sequence
from typing import Any

from scripts.bench import tables, targets
from scripts.bench.subjects import Subject
from scripts.bench.tables import milliseconds, percent, times


def show(subject: Subject, rows: Sequence[dict[str, Any]], full: float) -> None:
    """Print three tables: search, evaluation, and the non-reloading setting."""
    print(f"\n{subject.name}: search, seconds a sample, one thread, {subject.source}")
    headings = (
        "method",
        "samples",
        "obvious s",
        "fast s",
        "ratio",
        "of peak",
        "fast, of peak",
        "same change",
    )
    print(tables.text(headings, [_search(row) for row in rows]))
    print(
        "  `of peak`: operations of the algorithm's passes in the time; the fast way does without some of them"
    )
    print(f"\n{subject.name}: evaluation of these patches, {subject.count:,} images, one thread")
    headings = ("method", "patches", "full ms", "fast ms", "median ratio", "total ratio")
    headings += ("of peak", "fast, of peak", "targets", "hold")
    print(tables.text(headings, [_evaluation(row) for row in rows]))
    print(
        "  `of peak`: operations of a full pass in the time; the fast way does without most, so 20x is no error"
    )
    if any(row["target_median"] for row in rows) and targets.note(subject.count):
        print(targets.note(subject.count))
    print(f"\n{subject.name}: non-reloading, seconds a sample, the fast ways")
    headings = ("method", "samples", "already right", "search s", "evaluation s", "full s", "ratio")
    print(tables.text(headings, [_chain(row, full) for row in rows]) + "\n")


def seconds(value: float | None) -> str:
    """Return seconds with three digits."""
    return "-" if value is None else f"{value:.3g}"


def _search(row: dict[str, Any]) -> tuple[str, ...]:
    count = row["obvious_samples"]
    if not count:
        fast = (seconds(row["search"]), "-", "-", percent(row["search_share_of_peak"]), "-")
        return (row["method"], str(row["samples"]), "same", *fast)
    return (
        row["method"],
        f"{count}",
        seconds(row["obvious_search"]),
        seconds(row["search_same_samples"]),
        times(row["search_ratio"]),
        percent(row["obvious_search_share_of_peak"]),
        percent(row["search_share_of_peak"]),
        f"{row['agree']} of {count}",
    )


def _evaluation(row: dict[str, Any]) -> tuple[str, ...]:
    wanted, held = "-", "-"
    if row["target_median"] and row["patches"]:
        wanted = f"{row['target_median']:g}x, {row['target_total']:g}x"
        median = targets.holds(row["evaluation_median_ratio"], row["target_median"])
        total = targets.holds(row["evaluation_total_ratio"], row["target_total"])
        held = f"{targets.word(median)}, {targets.word(total)}"
    return (
        row["method"],
        str(row["patches"]),
        milliseconds(row["full_evaluation"]),
        milliseconds(row["evaluation"]),
        times(row["evaluation_median_ratio"]),
        times(row["evaluation_total_ratio"]),
        percent(row["full_share_of_peak"]),
        percent(row["evaluation_share_of_peak"]),
        wanted,
        held,
    )


def _chain(row: dict[str, Any], full: float) -> tuple[str, ...]:
    chain = row["non_reloading"]
    moved = [each for each, there in zip(chain["evaluation"], chain["moved"], strict=True) if there]
    each = statistics.fmean(moved) if moved else None
    return (
        row["method"],
        str(len(chain["search"])),
        str(chain["already_right"]),
        seconds(statistics.fmean(chain["search"])),
        seconds(each),
        seconds(full),
        times(full / each) if each else "-",
    )
