"""The companion studies as a part of the report: tables, figures and claims from rows of their own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from experiments.records.companions import COMMITTED
from experiments.records.schema import Run
from experiments.report.canvas import Picture
from experiments.report.companions import gradient, others, pictures, rules
from experiments.report.companions.claims import Ruled, read_claims, rule
from experiments.report.companions.evidence import Evidence
from experiments.report.part import Made, Study, words
from experiments.report.sheet import Block

Paint = Callable[[Figure, Evidence], Sequence[str]]
FIGURES: dict[str, Paint] = {
    "companions_curves": pictures.draw_curves,
    "companions_scatter": pictures.draw_scatter,
    "companions_eigenvalues": pictures.draw_eigenvalues,
    "companions_quivers": pictures.draw_quivers,
    "companions_field": pictures.draw_field,
    "companions_corrections": pictures.draw_corrections,
}
OTHERS: dict[str, tuple[Callable[[Evidence], others.Table], tuple[str, ...]]] = {
    "companions_corrections": (others.corrections, ("corrections",)),
    "companions_eigenvalues": (others.eigenvalues, ("eigenvalues",)),
    "companions_starts": (others.starts, ("starts", "toy")),
}


@dataclass(frozen=True)
class Companions(Study):
    """Tables of the sources with printed values beside ours, figures, claims, and what it all says for corrections.

    Attributes:
        records: The folder with a file for each study; where one is missing the tables say so.
    """

    records: Path = COMMITTED
    tables = (
        *("companions_claims", "companions_gradient", "companions_rules", "companions_corrections"),
        *("companions_eigenvalues", "companions_starts"),
    )
    figures = tuple(FIGURES)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make them; `runs` are none of its own."""
        evidence = Evidence(self.records)
        yield from self._sheets(evidence)
        for name, paint in FIGURES.items():
            yield Picture(name, partial(_painted, paint, evidence))

    def _sheets(self, evidence: Evidence) -> Iterator[Made]:
        ruled = rule(read_claims(), evidence)
        lines = [_line(each) for each in ruled]
        claims = [record for each in ruled for record in each.records]
        told = words("companions_claims")
        blocks = [Block("Verdicts.", told["header"], lines)]
        blocks.append(Block("Tests.", told["tests"], [line for each in ruled for line in each.lines]))
        tested = dict.fromkeys(test.study for each in ruled for test in each.claim.tests)
        yield self.sheet([f"{_scales(evidence, *tested)}."], [], blocks, claims, "companions_claims")
        studies = [gradient.block(evidence, study) for study in gradient.REFERENCES]
        records = [record for _, each in studies for record in each]
        about = [f"{_scales(evidence, *gradient.REFERENCES)}.", gradient.left_on(evidence)]
        yield self.sheet(about, [], [block for block, _ in studies], records, "companions_gradient")
        blocks, records, notes = rules.blocks(evidence)
        doubts = f"Doubtful cells of the source (?): {'; '.join(notes)}."
        yield self.sheet(
            [f"{_scales(evidence, *rules.SETS)}.", doubts], [], blocks, records, "companions_rules"
        )
        for name, (lay_out, own) in OTHERS.items():
            blocks, records = lay_out(evidence)
            yield self.sheet([f"{_scales(evidence, *own)}."], [], blocks, records, name)


def _scales(evidence: Evidence, *studies: str) -> str:
    return "Scale: " + "; ".join(evidence.scale(study) for study in studies)


def _line(ruled: Ruled) -> list[str]:
    claim = ruled.claim
    return [f"{claim.id}: {claim.claim} {claim.note}".strip(), claim.where, ruled.verdict]


def _painted(paint: Paint, evidence: Evidence, figure: Figure) -> Sequence[str]:
    return [*paint(figure, evidence)]
