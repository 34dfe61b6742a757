"""One verdict for each table and figure of the thesis: `outputs/tables/verdicts`."""

from collections.abc import Mapping, Sequence

from experiments.records.schema import Run, subject
from experiments.report.captions import FULL_TEST_IMAGES, FULL_TRAIN_IMAGES
from experiments.report.claims.data import Line
from experiments.report.claims.evidence import Missing, shown
from experiments.report.claims.verdicts import (
    ABSENT,
    FAILS,
    HOLDS,
    IN_PART,
    NOT_COMPARABLE,
    NOT_REPRODUCED,
    REPRODUCED,
    Judged,
    Ruling,
    worst,
)
from experiments.report.frames import recipe_of
from experiments.report.numbers import format_count, span
from experiments.report.part import words
from experiments.report.sheet import Block, Sheet
from experiments.report.style import NETWORKS, network_label

NAME = "verdicts"


def verdict_sheet(lines: Sequence[Line], rulings: Sequence[Ruling], runs: Sequence[Run]) -> Sheet:
    """Lay the verdicts out, a line for each table and figure."""
    by_id, told = {ruling.claim.id: ruling for ruling in rulings}, words(NAME)
    cells = []
    for line in lines:
        verdict, held, judged = of_line(line, by_id)
        why = line.reasons.get(verdict, "") or _because(judged)
        cells.append((line.of, line.what, verdict, why, scale(line, runs, by_id), held))
    header = told["header"]
    block = Block("", header, [cell[: len(header)] for cell in cells], len(header))
    return Sheet(NAME, told["heading"], [told["caption"]], (), [block], told["columns"], cells)


def of_line(line: Line, rulings: Mapping[str, Ruling]) -> tuple[str, str, Judged | None]:
    """Return the verdict on a table, how many of its claims hold, and the test that decides.

    A claim counts by its worst test on each network of the table. Reproduced: all hold. Not reproduced: each fails. In
    part: the rest. Claims that cannot be judged have no say; where no claim can, it is not comparable.
    """
    networks = [line.network] if line.network else list(NETWORKS)
    own = [
        [item for item in rulings[name].judged if item.test.network == network]
        for name in line.claims
        for network in networks
    ]
    deciding = [found for judged in own if (found := worst(judged))]
    grades = [item.grade for item in deciding if item.grade != ABSENT]
    if not grades:
        return NOT_COMPARABLE, "", worst(deciding)
    count = grades.count(HOLDS)
    held = f"{count} of {len(grades)}"
    if count == len(grades):
        return REPRODUCED, held, None
    failed = set(grades) == {FAILS}
    known = [item for item in deciding if item.grade != ABSENT]
    return NOT_REPRODUCED if failed else IN_PART, held, worst(known)


def _because(deciding: Judged | None) -> str:
    """Return the numbers of the test that decides."""
    if deciding is None:
        return ""
    if isinstance(deciding.outcome, Missing):
        return str(deciding.outcome).partition(": ")[2]
    outcome = deciding.outcome
    against = "" if outcome.against is None else f" against {shown(outcome.against)}"
    return f"{deciding.subject} {deciding.grade}: {shown(outcome.ours)}{against}"


def scale(line: Line, runs: Sequence[Run], rulings: Mapping[str, Ruling]) -> str:
    """Return how much of the thesis' data the runs of a table have, in a phrase for each network.

    Where its claims are judged at one scale of several, it is the runs from N0 of that recipe.
    """
    judged = [item for name in line.claims for item in rulings[name].judged]
    made_on = {(item.test.network, item.errors) for item in judged if item.errors is not None}
    networks = {network for network, _ in made_on}
    abouts = [(run.header, *subject(run.header.spec), recipe_of(run.header.spec)) for run in runs]
    trained = {(about[1], about[4]) for about in abouts if (about[1], about[0].base["errors"]) in made_on}
    sizes: dict[str, dict[tuple[str, str], list[int]]] = {}
    for header, network, setting, name, recipe in abouts:
        told = network not in networks or (network, recipe) in trained
        if line.source in (setting, name) and line.network in ("", network) and told:
            errors, images = header.base["errors"], (header.train_images, header.test_images)
            count = "all" if header.samples == errors else f"{format_count(header.samples)} of"
            few = images != (FULL_TRAIN_IMAGES, FULL_TEST_IMAGES)
            size = (count, ", {:,} + {:,} images".format(*images) if few else "")
            sizes.setdefault(network, {}).setdefault(size, []).append(errors)
    each = []
    for network, found in sorted(sizes.items()):
        texts = [f"{count} {span(errors)} errors{images}" for (count, images), errors in found.items()]
        each.append(f"{'' if line.network else network_label(network) + ' '}{' or '.join(texts)}")
    return "; ".join(each) or "no runs"
