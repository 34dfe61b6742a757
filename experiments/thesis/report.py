"""What is judged beside the tables and figures, and the report of it all: `report.yaml` has its order and words."""

from experiments.records.strict import build_as, read_yaml
from experiments.report.accumulation import Accumulation
from experiments.report.assemble import Report
from experiments.report.claims import Claims
from experiments.report.comparison import Comparison
from experiments.report.distributions import Distributions
from experiments.report.gallery.part import Gallery
from experiments.report.gradient_ranks import GradientRanksPart
from experiments.report.opening import Opening
from experiments.report.page import Document
from experiments.report.side_effects import SideEffects
from experiments.report.training_loss import TrainingLoss
from experiments.thesis.tables import KNOWLEDGE, PARTS, REFERENCE, TABLE_METHODS, TABLES, THESIS_ERRORS

FOLDER = REFERENCE.parents[1]
VERDICTS = REFERENCE.with_name("verdicts.json")  # what `make verify` holds the records against

LEDGER = Claims(FOLDER / "claims.yaml")

REPORT = Report(
    (
        Gallery(),  # takes longest
        Opening(),
        LEDGER,
        Comparison(TABLES, tuple(part for part in PARTS if isinstance(part, GradientRanksPart)), REFERENCE),
        TrainingLoss(REFERENCE, methods=TABLE_METHODS, thesis_errors=THESIS_ERRORS, knowledge=KNOWLEDGE),
        Distributions(methods=TABLE_METHODS, thesis_errors=THESIS_ERRORS, knowledge=KNOWLEDGE),
        SideEffects(methods=TABLE_METHODS, thesis_errors=THESIS_ERRORS, knowledge=KNOWLEDGE),
        Accumulation(methods=TABLE_METHODS, thesis_errors=THESIS_ERRORS, knowledge=KNOWLEDGE),
    ),
    build_as(Document, read_yaml(FOLDER / "report.yaml"), "report"),
)
