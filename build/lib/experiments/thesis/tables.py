"""The tables and figures of the thesis as data.

Banerjee, "Budgeted Gradient Descent: Selective Gradient Optimization for Addressing Misclassifications in
DNNs", MSc thesis, University of Alberta, 2024, chapter 4. `reference/` holds the values that its tables
print.
"""

from pathlib import Path

from experiments.config.groups import methods_in
from experiments.report.ablations import Ablations, Variant
from experiments.report.aims import Aims
from experiments.report.base_networks import BaseNetworks
from experiments.report.build import Definitions
from experiments.report.figures import FigureSpec
from experiments.report.frames import REPLICAS
from experiments.report.frontier import Frontier
from experiments.report.generality import Generality
from experiments.report.gradient_ranks import GradientRanksPart
from experiments.report.idealized import Idealized
from experiments.report.in_a_row import InARow
from experiments.report.layer_gradients import LayerGradientsPart
from experiments.report.loss_change import LossChangePart
from experiments.report.part import Part
from experiments.report.rounding import Rounding
from experiments.report.sensitivity import Sensitivity
from experiments.report.standings import Aim
from experiments.report.steps import FirstOrderStep
from experiments.report.style import method_order
from experiments.report.tables import TableSpec
from experiments.report.variance import Variance
from experiments.report.variation import Orders
from experiments.thesis.levels import knowledge

REFERENCE = Path(__file__).resolve().parent / "reference" / "tables.csv"
GRADIENT_RANKS = REFERENCE.with_name("gradient_ranks.csv")

NETWORKS = ("alexnet", "mlp")
ERRORS = {"alexnet": 370, "mlp": 947}  # section 4.2
KNOWLEDGE = knowledge()

# The methods of a group, those that no style names at the end.
TABLE_METHODS, FRONTIER_METHODS, ROW_METHODS = (
    tuple(method_order(methods_in(group))) for group in ("tables", "frontier", "in_a_row")
)

# Section 4.2. The thesis has no row for the released accounting and for the training accuracy.
RELOADING_METRICS = ("POC", "POPA", "dTL", "dTL_released", "dTA", "training_accuracy_change")
# Section 4.7. The thesis has no row for the last two.
NON_RELOADING_METRICS = ("POC", "POPA", "final_test_accuracy", "retained")

BASELINES = ("bgd_ii", "retrain", "fine_tune", "top_k", "l1")
VARIANTS = ("bgd_ii", "bgd_i", "top_k")
CURVATURE = ("bgd_ii", "bgd_c")
NORMALIZED = ("bgd_ii", "bgd_norm")
NON_RELOADING = ("bgd_ii", "bgd_c", "bgd_i", "retrain", "fine_tune", "top_k", "l1")
REPLICAS_OF = {"alexnet": ("rounding_alexnet",), "mlp": ("rounding",)}  # presets: more draws, non-reloading


def _pair(
    numbers: tuple[int, int], title: str, methods: tuple[str, ...], common: bool = False
) -> list[TableSpec]:
    """Return a table of the reloading setting for each network."""
    return [
        TableSpec(
            name=f"table_4_{number}",
            title=title,
            network=network,
            setting="reloading",
            methods=methods,
            metrics=RELOADING_METRICS,
            common_samples=common,
            thesis_errors=ERRORS[network],
            knowledge=KNOWLEDGE,
        )
        for number, network in zip(numbers, NETWORKS, strict=True)
    ]


def _non_reloading(number: int, network: str) -> TableSpec:
    return TableSpec(
        name=f"table_4_{number}",
        title="BGD and its variants compared with the baselines.",
        network=network,
        setting="non_reloading",
        methods=NON_RELOADING,
        metrics=NON_RELOADING_METRICS,
        thesis_errors=ERRORS[network],
        knowledge=KNOWLEDGE,
        replicas=REPLICAS_OF[network],
    )


TABLES = (
    *_pair((1, 2), "BGD compared with the baselines.", BASELINES),
    *_pair((3, 4), "The two variants BGD-I and BGD-II compared, beside Top-k.", VARIANTS, common=True),
    *_pair((5, 6), "BGD compared with BGD-C.", CURVATURE),
    _non_reloading(7, "alexnet"),
    _non_reloading(8, "mlp"),
    *_pair((11, 12), "BGD compared with BGD-Norm.", NORMALIZED),
)


def _curves(first: int, network: str) -> list[FigureSpec]:
    """Return the three figures of a network in the non-reloading setting."""
    return [
        FigureSpec(
            name=f"figure_4_{first + place}",
            kind="curves",
            networks=(network,),
            setting="non_reloading",
            methods=NON_RELOADING,
            measure=measure,
            replicas=REPLICAS_OF[network],
        )
        for place, measure in enumerate(("test_accuracy", "train_accuracy", "train_loss"))
    ]


FIGURES = (
    FigureSpec("figure_4_1", "accuracies", NETWORKS, "reloading", BASELINES),
    FigureSpec("figure_4_2", "sample_losses", NETWORKS, "reloading", ("bgd_ii", "bgd_i", "top_k", "retrain")),
    FigureSpec("figure_4_4", "accuracies", NETWORKS, "reloading", CURVATURE),
    *_curves(5, "alexnet"),
    *_curves(8, "mlp"),
    FigureSpec("figure_4_14", "accuracies", NETWORKS, "reloading", NORMALIZED),
)

MAIN = "every_method"  # the preset whose runs the overview is of

THESIS_ERRORS = tuple(ERRORS.items())

PARTS: tuple[Part, ...] = (
    LossChangePart(presets=("figure_4_3",), networks=NETWORKS, thesis_errors=THESIS_ERRORS),
    LayerGradientsPart(presets=("figure_4_13",), networks=NETWORKS, thesis_errors=THESIS_ERRORS),
    *(
        GradientRanksPart(
            presets=(table, figure),
            network=network,
            table=table,
            figure=figure,
            reference=GRADIENT_RANKS,
            thesis_errors=ERRORS[network],
        )
        for network, table, figure in (
            ("alexnet", "table_4_9", "figure_4_11"),
            ("mlp", "table_4_10", "figure_4_12"),
        )
    ),
)

FULL_BGD_II = Variant(
    "full algorithm",
    (
        ("method.prior.class", "GradientPrior"),
        ("method.update.form", "diagonal"),
        ("method.probability_update", "drawn_to_zero"),
        ("method.replace_probability", 0.7),
        ("method.prune", True),
    ),
)
VARIANTS_OF_BGD_II = (
    FULL_BGD_II,
    Variant("random prior", (("method.prior.class", "UniformPrior"),)),
    Variant("second order: g / ||g_subset||²", (("method.update.form", "subset_norm"),)),
    Variant("second order: g / ||g||²", (("method.update.form", "full_norm"),)),
    Variant("printed probability update", (("method.probability_update", "printed"),)),
    Variant("Replace only", (("method.replace_probability", 1.0),)),
    Variant("Expand only", (("method.replace_probability", 0.0),)),
    Variant("no final pruning", (("method.prune", False),)),
)

# What a correction should reach, by network.
AIMS: tuple[Aim, ...] = (
    *(
        Aim(network, quantity, kind, bound)
        for network in NETWORKS
        for quantity, kind, bound in (
            ("POC", "at least", 100.0),
            ("changed_median", "at most", 5.0),
            ("changed_max", "at most", 50.0),
        )
    ),
    Aim("mlp", "dTA_mean", "at least", -0.0006),
    Aim("mlp", "dTA_p5", "at least", -0.0025),
    Aim("mlp", "dTA_worst", "at least", -0.01),
    Aim("alexnet", "dTA_mean", "at least", -0.0003),
    Aim("alexnet", "dTA_p5", "at least", -0.001),
)
ROW_AIMS = tuple(
    Aim(network, quantity, kind, bound)
    for network in NETWORKS
    for quantity, kind, bound in (("untouched_loss", "at most", 2.0), ("retention", "at least", 95.0))
)

# What goes beyond the thesis: what a correction must cost, by what a method may know and change.
BEYOND: tuple[Part, ...] = (
    Frontier(KNOWLEDGE, methods=FRONTIER_METHODS, aims=AIMS, thesis_errors=THESIS_ERRORS),
    Aims(KNOWLEDGE, AIMS, thesis_errors=THESIS_ERRORS),
    Generality(KNOWLEDGE, methods=FRONTIER_METHODS),
    InARow(KNOWLEDGE, methods=ROW_METHODS, aims=ROW_AIMS, thesis_errors=THESIS_ERRORS),
)

# What the thesis asks (sections 3.1 and 3.4.1) or leaves open, and does not show.
STUDIES: tuple[Part, ...] = (
    Idealized(),
    Sensitivity(thesis_errors=ERRORS["mlp"]),
    FirstOrderStep(REFERENCE),
    Ablations(VARIANTS_OF_BGD_II),
    Orders(REFERENCE, thesis_errors=ERRORS["mlp"], knowledge=KNOWLEDGE),
    BaseNetworks(
        REFERENCE,
        methods=tuple(dict.fromkeys((*NON_RELOADING, *TABLE_METHODS))),
        thesis_errors=ERRORS["mlp"],
        knowledge=KNOWLEDGE,
    ),
    Variance(thesis_errors=ERRORS["mlp"]),
    Rounding(thesis_errors=THESIS_ERRORS),
)

PAPER = Definitions(MAIN, TABLES, FIGURES, (*PARTS, *BEYOND, *STUDIES), KNOWLEDGE, REPLICAS)
