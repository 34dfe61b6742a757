"""The tables and figures of the thesis as data.

Banerjee, "Budgeted Gradient Descent: Selective Gradient Optimization for Addressing Misclassifications in
DNNs", MSc thesis, University of Alberta, 2024, chapter 4. `reference/` holds the values that its tables
print.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from experiments.config.groups import methods_in
from experiments.records.schema import NON_RELOADING
from experiments.records.strict import build_as, read_yaml
from experiments.report.ablations import Ablations, Variant
from experiments.report.fair import Fair, Goal
from experiments.report.figures import FigureSpec
from experiments.report.frames import DRAWS, KEPT
from experiments.report.frontier import Aims, Frontier
from experiments.report.generality import Generality
from experiments.report.gradient_ranks import GradientRanksPart
from experiments.report.idealized import Idealized
from experiments.report.in_a_row import InARow
from experiments.report.layer_gradients import LayerGradientsPart
from experiments.report.loss_change import LossChangePart
from experiments.report.overview import Overview
from experiments.report.part import Part, Thesis
from experiments.report.readings import Readings
from experiments.report.rounding import Rounding
from experiments.report.sensitivity import Sensitivity
from experiments.report.standings import Aim
from experiments.report.steps import FirstOrderStep
from experiments.report.style import method_order
from experiments.report.survival import Survival
from experiments.report.tables import TableSpec
from experiments.report.variance import Variance
from experiments.report.variation import BaseNetworks, Orders
from experiments.thesis.levels import knowledge, remembering

REFERENCE = Path(__file__).resolve().parent / "reference" / "tables.csv"

THESIS = Thesis(
    errors=(("alexnet", 370), ("mlp", 947)),  # section 4.2
    knowledge=knowledge(),
    tables=REFERENCE,
    ranks=REFERENCE.with_name("gradient_ranks.csv"),
)

# The methods of a group, those that no style names at the end.
TABLE_METHODS, FRONTIER_METHODS, ROW_METHODS = (
    tuple(method_order(methods_in(group))) for group in ("tables", "frontier", "in_a_row")
)


@dataclass(frozen=True)
class Chapter:
    """Chapter 4 of the thesis, as `tables.yaml` has it, and what this project wants of corrections.

    Attributes:
        tables, figures: Of the thesis.
        tables_full: Of those on AlexNet, at the thesis' scale, as far as that is run.
        aims, aims_deployed, aims_in_a_row: Of one correction, of one that is asked to survive deployment, of many.
        goals: Of methods that are compared fairly.
        names_frontier, names_in_a_row, methods_named: What figures show, and how it is called there.
    """

    tables: tuple[TableSpec, ...]
    tables_full: tuple[TableSpec, ...]
    figures: tuple[FigureSpec, ...]
    aims: tuple[Aim, ...]
    aims_deployed: tuple[Aim, ...]
    aims_in_a_row: tuple[Aim, ...]
    goals: tuple[Goal, ...]
    names_frontier: tuple[tuple[str, str], ...]
    names_in_a_row: tuple[tuple[str, str], ...]
    methods_named: tuple[str, ...]


DATA = read_yaml(Path(__file__).with_name("tables.yaml"))
VARIANTS = tuple(Variant(label, tuple(values.items())) for label, values in DATA.pop("variants").items())
CHAPTER: Chapter = build_as(Chapter, DATA, "tables")
TABLES, TABLES_FULL = (
    tuple(replace(spec, thesis=THESIS) for spec in specs) for specs in (CHAPTER.tables, CHAPTER.tables_full)
)
FULL_METHODS = tuple(dict.fromkeys(name for spec in TABLES_FULL for name in spec.methods))
FIGURES = CHAPTER.figures
IN_A_ROW_METHODS = [
    name
    for spec in TABLES
    if spec.setting == NON_RELOADING
    for name in spec.methods
    if not name.endswith(KEPT)
]

FAIR = (
    *("fair_rehearsal", "fair_row_few", "fair_row_kfac", "fair_row_kl", "fair_row_ewc"),
    *("fair_kfac", "fair_rank_one", "fair_least_harm", "fair_generality"),
    *("fair_ewc", "fair_fisher", "fair_retrain", "fair_l2_sp", "fair_lora", "fair_least_change"),
    *("fair_kl", "fair_lp", "fair_fault_sneaking", "fair_smallest"),
)

MAIN = "every_method"  # the preset whose runs the overview is of
WHOLE = (MAIN, "alexnet_in_full")  # presets whose rows claims read in every column

RANKS = (
    GradientRanksPart(THESIS, ("table_4_9", "figure_4_11"), ("alexnet",)),
    GradientRanksPart(THESIS, ("table_4_10", "figure_4_12"), ("mlp",)),
)

OVERVIEW = Overview(THESIS, (MAIN, *DRAWS))
# What chapter 4 of the thesis shows.
CHAPTER_4: tuple[Part, ...] = (
    *TABLES,
    OVERVIEW,
    *FIGURES,
    LossChangePart(THESIS),
    LayerGradientsPart(THESIS),
    *RANKS,
)
STUDIES: tuple[Part, ...] = (
    # What goes beyond the thesis: what a correction must cost, by what a method may know and change.
    Frontier(THESIS, methods=FRONTIER_METHODS, aims=CHAPTER.aims, names_drawn=CHAPTER.names_frontier),
    Aims(THESIS, aims=CHAPTER.aims, methods_named=CHAPTER.methods_named),
    Survival(
        THESIS,
        methods=FRONTIER_METHODS,
        aims=CHAPTER.aims_deployed,
        methods_named=CHAPTER.methods_named,
    ),
    Generality(THESIS, methods=FRONTIER_METHODS, methods_drawn=CHAPTER.methods_named),
    InARow(THESIS, methods=ROW_METHODS, aims=CHAPTER.aims_in_a_row, names_drawn=CHAPTER.names_in_a_row),
    Fair(THESIS, presets=FAIR, goals=CHAPTER.goals, remembering=remembering()),
    # What the thesis asks (sections 3.1 and 3.4.1) or leaves open, and does not show.
    Idealized(THESIS),
    Sensitivity(THESIS),
    FirstOrderStep(THESIS),
    Readings(
        THESIS,
        presets=(
            "readings_algorithm",
            "readings_errors",
            "readings_momentum",
            "readings_momentum_alexnet",
            "readings_random",
        ),
    ),
    Ablations(THESIS, variants=VARIANTS),
    Orders(THESIS),
    BaseNetworks(THESIS, methods=tuple(dict.fromkeys((*IN_A_ROW_METHODS, *TABLE_METHODS)))),
    Variance(THESIS),
    Rounding(THESIS),
)

PAPER: tuple[Part, ...] = (*CHAPTER_4, *TABLES_FULL, *STUDIES)
