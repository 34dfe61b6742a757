"""Tables C2, C4 and C6 of the first report: penalties on gradients by inputs, printed values beside ours."""

from collections.abc import Iterator, Sequence

from experiments.report.companions.evidence import MISSING, Evidence, Gap, number, printed, said
from experiments.report.sheet import Block

ACCURACY, PERCENT = "test_accuracy", 100.0
LEFT_OUT = "not at this scale"
UNTUNED = "jacreg_untuned"  # arm whose weight is SpectReg's
COLLAPSED = 20.0  # % of ten classes below which a run has learnt next to nothing: its units are dead
HEADER = ("arm", "lambda", "expected", "printed", "ours", "less the reference", "n")
REFERENCES = {
    "c2": "{first}/none",
    "c4": "{first}/doubleback",
    "c6": "frobreg",
}  # what an arm is compared with
Cell = tuple[list[str], list[object]]


def block(evidence: Evidence, study: str) -> tuple[Block, list[list[object]]]:
    """Lay out a table of the report: lines for people, and records."""
    found = list(_cells(evidence, study))
    return Block(f"Table {study.upper()}.", HEADER, [line for line, _ in found]), [each for _, each in found]


def _cells(evidence: Evidence, study: str) -> Iterator[Cell]:
    for cell in _with_ours_alone(evidence, study):
        arm = cell["arm"]
        ours = evidence.spread(study, arm, ACCURACY, PERCENT)
        gap = _gap(evidence, study, arm)
        numbers = [
            number(cell.get(f"{name}{end}", "")) for name in ("expected", "printed") for end in ("", "_sd")
        ]
        collapsed = sum(value < COLLAPSED for value in ours.values)
        text = f"{ours.text}, {collapsed} collapsed" if collapsed else ours.text
        if text == MISSING and evidence.rows(study):
            text = LEFT_OUT
        texts = [said(cell, "expected"), said(cell, "printed"), text]
        yield (
            [arm, cell["weight"], *texts, gap.text if gap and gap.n else "", str(ours.n)],
            [study, arm, cell["weight"], *numbers, ours.mean, ours.sd, ours.n, *_ends(gap)],
        )


def _with_ours_alone(evidence: Evidence, study: str) -> Sequence[dict[str, str]]:
    """Give the printed cells, and beside those of the same size or network the arms that no source prints."""
    cells = {cell["arm"]: cell for cell in printed(study)}
    for arm in dict.fromkeys(row.job.arm for row in evidence.rows(study)):
        weight_of = cells.get(arm.replace(UNTUNED, "spectreg"), {})
        cells.setdefault(arm, {"arm": arm, "weight": weight_of.get("weight", "")})
    first = [arm.partition("/")[0] for arm in cells]
    return sorted(cells.values(), key=lambda cell: first.index(cell["arm"].partition("/")[0]))


def _gap(evidence: Evidence, study: str, arm: str) -> Gap | None:
    reference = REFERENCES[study].format(first=arm.partition("/")[0])
    return None if arm == reference else evidence.gap(study, arm, reference, ACCURACY, PERCENT)


def _ends(gap: Gap | None) -> tuple[object, object, object]:
    if gap is None:
        return None, None, None
    ends = (None, None) if gap.interval is None else (gap.interval.low, gap.interval.high)
    return gap.mean, *ends


def left_on(evidence: Evidence) -> str:
    """Say what C2's network with dropout gives where dropout stays on at evaluation."""
    on = evidence.spread("c2", "dropout/none", "test_accuracy_dropout_on", PERCENT)
    off = evidence.spread("c2", "dropout/none", ACCURACY, PERCENT)
    return f"With dropout on at evaluation our C2 network with dropout has {on.text} %, off {off.text} %."
