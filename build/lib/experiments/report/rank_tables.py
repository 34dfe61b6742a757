"""Tables 4.9 and 4.10 of the thesis from the counts of `experiments.report.rank_shares`, beside what it prints."""

from collections.abc import Iterator, Mapping

import numpy as np

from experiments.report.metrics import MISSING
from experiments.report.numbers import format_count, format_number, format_printed, listing
from experiments.report.part import words
from experiments.report.rank_shares import (
    CRITERIA,
    MEAN,
    OF_SAMPLE,
    PLACES,
    Reading,
    Results,
    means,
    same_first,
    shares_ties_split,
    ties,
)
from experiments.report.render import csv_text
from experiments.report.sheet import Block, bracketed, percent, plain
from experiments.report.surveys import RESAMPLES, share_interval

Printed = Mapping[tuple[str, int], tuple[int, float]]

ORDINALS = ("1st", "2nd", "3rd")
HEADERS = {OF_SAMPLE: ("rank", "best in samples (%)"), MEAN: ("rank", "mean", "corrects samples (%)")}


def caption(about: str, results: Results | None) -> list[str]:
    """Return the table's caption.

    Args:
        about: Network, scale and N0.
        results: None where there is no run.
    """
    told: str = words("gradient_ranks")["caption"]
    return [told.format(resamples=RESAMPLES), about, *([] if results is None else _verdict(results))]


def _verdict(results: Results) -> list[str]:
    """Return the finding on claim 9: that no rank is best by all three criteria at once."""
    data = results.data
    some = np.asarray(data.corrected.any(axis=1), dtype=np.bool_)
    low, high = (percent(end) for end in share_interval(some, results.draws))
    pairs = percent(float(data.corrected.sum()) / max(1, data.pairs))
    lines = [
        f"Corrected: {pairs} % of the {format_count(data.pairs)} pairs of sample and rank;"
        f" {bracketed(percent(float(some.mean())), low, high)} % of the {format_count(some.size)} samples by at least"
        " one of the ranks.",
        f"Two or more ranks tie for the best in {_by_criterion({n: ties(data, n) for n in CRITERIA})} of the samples.",
    ]
    lines += [_about_first(results.readings[kind], number) for number, kind in enumerate(HEADERS, 1)]
    gaps = int((data.corrected & np.isnan(data.values["training_loss"])).sum())
    if gaps:
        lines.append(f"Pairs left out because the training loss is not finite: {format_count(gaps)}.")
    return lines


def _by_criterion(shares: Mapping[str, float]) -> str:
    return listing([f"{percent(share)} % ({CRITERIA[name].name})" for name, share in shares.items()])


def _about_first(readings: Mapping[str, Reading], number: int) -> str:
    firsts = {name: int(reading.top[0]) for name, reading in readings.items()}
    named = listing([f"{rank or 'none'} by {CRITERIA[name].name}" for name, rank in firsts.items()])
    one = len(set(firsts.values())) == 1 and 0 not in firsts.values()
    verdict = f"{'one' if one else 'no'} rank is best by all three"
    again = f"one rank is first by all three in {percent(same_first(readings))} % of the resamples"
    return f"By reading {number} the first rank is {named}: {verdict}; {again}."


def blocks(results: Results | None, printed: Printed) -> list[Block]:
    """Return the two readings as lines for people.

    Args:
        results: None where there is no run.
        printed: The thesis' rank and per cent, by criterion and place from 1.
    """
    made, told = [], words("gradient_ranks")
    for kind, own in HEADERS.items():
        lines = []
        for name, criterion in CRITERIA.items():
            unit = criterion.unit if kind == MEAN else ""
            for place, ordinal in enumerate(ORDINALS):
                cells = [MISSING] * (len(own) + 2) if results is None else _ours(results, kind, name, place)
                theirs = _theirs(results, kind, name, printed.get((name, place + 1)))
                lines.append([criterion.name + unit, ordinal, *cells, *theirs])
        made.append(Block(told[kind], ("criterion", "place", *own, *told["header"]), lines))
    return made


def _ours(results: Results, kind: str, name: str, place: int) -> list[str]:
    """Return our cells at a place from 0, up to those on the resamples."""
    reading = results.readings[kind][name]
    rank = int(reading.top[place])
    if rank == 0:
        return ["none", *[""] * (len(HEADERS[kind]) + 1)]
    share = bracketed(*(percent(part[rank - 1]) for part in (reading.shares, reading.low, reading.high)))
    mean = float(means(results.data.values[name])[rank - 1])
    # One of 54,000 images is 0.00002: fewer digits would make most ranks look alike.
    text = format_number(mean) if CRITERIA[name].unit else f"{mean:.5f}"
    return [
        *(str(rank), *([text] if kind == MEAN else []), share),
        *(percent(reading.named_again(place)), percent(reading.in_top_three(place))),
    ]


def _theirs(results: Results | None, kind: str, name: str, printed: tuple[int, float] | None) -> list[str]:
    """Return the thesis' rank and per cent, and our share at its rank."""
    if printed is None:
        return ["", "", ""]
    rank, share = printed
    at_rank = MISSING
    if results is not None:
        ours = _share_at(results.readings[kind][name], rank)
        at_rank = "not looked at" if ours is None else percent(ours)
    return [str(rank), format_printed(share, None), at_rank]


def _share_at(reading: Reading, rank: int) -> float | None:
    """Return our share at a rank; None where the run looked at fewer ranks."""
    return float(reading.shares[rank - 1]) if rank <= reading.shares.size else None


def records(table: str, network: str, results: Results | None, printed: Printed) -> Iterator[list[object]]:
    """Yield the lines of the csv file: one per reading, criterion and place."""
    for kind in HEADERS:
        for name in CRITERIA:
            for place in range(PLACES):
                rank, share = printed.get((name, place + 1), (None, None))
                ours: list[object] = [MISSING, *[None] * 8]
                at_rank, count = None, 0
                if results is not None:
                    reading = results.readings[kind][name]
                    ours, count = _numbers(results, kind, name, place), results.draws.shape[1]
                    at_rank = None if rank is None else _share_at(reading, rank)
                known = None if at_rank is None else 100 * at_rank
                yield [table, network, kind, name, place + 1, *ours, rank, share, known, count]


def _numbers(results: Results, kind: str, name: str, place: int) -> list[object]:
    """Return our nine cells of a line of the csv file, shares in %."""
    reading, values = results.readings[kind][name], results.data.values[name]
    rank = int(reading.top[place])
    if rank == 0:
        return ["none", *[None] * 8]
    split = shares_ties_split(results.data, name)[rank - 1] if kind == OF_SAMPLE else np.nan
    shares = [reading.shares[rank - 1], reading.low[rank - 1], reading.high[rank - 1]]
    shares += [reading.named_again(place), reading.in_top_three(place), split]
    behind = int((~np.isnan(values[:, rank - 1])).sum())
    return [rank, *(100 * float(share) for share in shares), float(means(values)[rank - 1]), behind]


def curves_csv(network: str, results: Results | None) -> str:
    """Return the figure's data and every rank's share of reading 1: a line per criterion and rank."""
    columns = words("gradient_ranks")["curves"]
    if results is None:
        return csv_text(columns, [[network, MISSING, *[None] * (len(columns) - 2)]])
    corrected = results.data.corrected
    lines = []
    for name in CRITERIA:
        curve = results.curve(name)
        best, split = results.readings[OF_SAMPLE][name].shares, shares_ties_split(results.data, name)
        for place in range(corrected.shape[1]):
            about = [network, place + 1, corrected.shape[0], int(corrected[:, place].sum()), name]
            numbers = [part[place] for part in (curve.mean, curve.low, curve.high, curve.median)]
            shares = (100 * best[place], 100 * split[place])
            cells = [int(curve.n[place]), *map(float, (*numbers, *shares))]
            lines.append([plain(value) for value in (*about, *cells)])
    return csv_text(columns, lines)
