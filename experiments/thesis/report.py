"""What is judged beside the tables and figures, and the report of it all: `report.yaml` has its order and words."""

from pathlib import Path

from experiments.records.strict import build_as, read_yaml
from experiments.report.accumulation import Accumulation
from experiments.report.assemble import Report
from experiments.report.claims import Claims
from experiments.report.companions import Companions
from experiments.report.comparison import Comparison
from experiments.report.gallery.part import Gallery
from experiments.report.one_correction import Distributions, SideEffects
from experiments.report.opening import Opening
from experiments.report.overview import Headline
from experiments.report.page import Document
from experiments.report.part import Part
from experiments.report.public_bugs import PublicBugs
from experiments.report.training_loss import TrainingLoss
from experiments.thesis.tables import (
    FULL_METHODS,
    OVERVIEW,
    RANKS,
    REFERENCE,
    TABLE_METHODS,
    TABLES,
    TABLES_FULL,
    THESIS,
)

FOLDER = REFERENCE.parents[1]
VERDICTS = REFERENCE.with_name("verdicts.json")  # what `make verify` holds the records against


def read_documents(path: Path) -> tuple[Document, ...]:
    """Read the documents of the report, which share the looks of the verdicts.

    Raises:
        ConfigError: A key is unknown or missing.
    """
    data = read_yaml(path)
    return tuple(build_as(Document, {**one, "badges": data["badges"]}, "report") for one in data["documents"])


LEDGER = Claims(path=FOLDER / "claims.yaml")

# What is said of the thesis' chapter: its claims, its numbers beside ours, and what its methods do.
ON_CHAPTER_4: tuple[Part, ...] = (
    LEDGER,
    Comparison(TABLES, RANKS, REFERENCE, TABLES_FULL),
    TrainingLoss(THESIS, methods=TABLE_METHODS),
    Distributions(THESIS, methods=TABLE_METHODS),
    SideEffects(THESIS, methods=TABLE_METHODS),
    Accumulation(THESIS, methods=TABLE_METHODS),
    Headline(THESIS, (*OVERVIEW.presets, "alexnet_in_full"), methods=FULL_METHODS),
)
REPORT = Report(
    (Gallery(), Opening(), *ON_CHAPTER_4, PublicBugs(), Companions()),  # the gallery takes longest
    read_documents(FOLDER / "report.yaml"),
)
