"""The tables and figures of the thesis as data.

Banerjee, "Budgeted Gradient Descent: Selective Gradient Optimization for Addressing Misclassifications in
DNNs", MSc thesis, University of Alberta, 2024, chapter 4. `reference/` holds the values that its tables
print.
"""

from pathlib import Path

from experiments.config.groups import methods_in
from experiments.report.ablations import Ablations, Variant
from experiments.report.build import Definitions
from experiments.report.figures import FigureSpec
from experiments.report.frames import REPLICAS
from experiments.report.frontier import Aims, Frontier
from experiments.report.generality import Generality
from experiments.report.gradient_ranks import GradientRanksPart
from experiments.report.idealized import Idealized
from experiments.report.in_a_row import InARow
from experiments.report.layer_gradients import LayerGradientsPart
from experiments.report.loss_change import LossChangePart
from experiments.report.part import Part, Thesis
from experiments.report.rounding import Rounding
from experiments.report.sensitivity import Sensitivity
from experiments.report.standings import Aim
from experiments.report.steps import FirstOrderStep
from experiments.report.style import method_order
from experiments.report.survival import Survival
from experiments.report.tables import TableSpec
from experiments.report.variance import Variance
from experiments.report.variation import BaseNetworks, Orders
from experiments.thesis.levels import knowledge

REFERENCE = Path(__file__).resolve().parent / "reference" / "tables.csv"

NETWORKS = ("alexnet", "mlp")
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
    first: int, title: str, setting: str, methods: tuple[str, ...], common: bool = False
) -> list[TableSpec]:
    """Return a table for each network."""
    return [
        TableSpec(
            name=f"table_4_{number}",
            title=title,
            network=network,
            setting=setting,
            methods=methods,
            metrics=RELOADING_METRICS if setting == "reloading" else NON_RELOADING_METRICS,
            common_samples=common,
            thesis=THESIS,
            replicas=() if setting == "reloading" else REPLICAS_OF[network],
        )
        for number, network in enumerate(NETWORKS, first)
    ]


TABLES = (
    *_pair(1, "BGD compared with the baselines.", "reloading", BASELINES),
    *_pair(
        3, "The two variants BGD-I and BGD-II compared, beside Top-k.", "reloading", VARIANTS, common=True
    ),
    *_pair(5, "BGD compared with BGD-C.", "reloading", CURVATURE),
    *_pair(7, "BGD and its variants compared with the baselines.", "non_reloading", NON_RELOADING),
    *_pair(11, "BGD compared with BGD-Norm.", "reloading", NORMALIZED),
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

RANKS = (
    GradientRanksPart(THESIS, ("table_4_9", "figure_4_11"), ("alexnet",)),
    GradientRanksPart(THESIS, ("table_4_10", "figure_4_12"), ("mlp",)),
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
# What it should reach where it is asked to survive deployment.
SURVIVAL_AIMS = tuple(
    Aim(network, quantity, kind, bound)
    for network in NETWORKS
    for quantity, kind, bound in (
        ("POC", "at least", 100.0),
        ("bfloat16", "at least", 100.0),
        ("float16", "at least", 100.0),
        ("int8", "at least", 99.0),
        ("onnxruntime_int8", "at least", 99.0),
        ("changed_median", "at most", 3.0),
        ("dTA_mean", "at least", -0.0002),
        ("dTA_worst", "at least", -0.005),
    )
)
ROW_AIMS = tuple(
    Aim(network, quantity, kind, bound)
    for network in NETWORKS
    for quantity, kind, bound in (("untouched_loss", "at most", 2.0), ("retention", "at least", 95.0))
)

PARTS: tuple[Part, ...] = (
    LossChangePart(THESIS),
    LayerGradientsPart(THESIS),
    *RANKS,
    # What goes beyond the thesis: what a correction must cost, by what a method may know and change.
    Frontier(THESIS, methods=FRONTIER_METHODS, aims=AIMS),
    Aims(THESIS, aims=AIMS),
    Survival(THESIS, methods=FRONTIER_METHODS, aims=SURVIVAL_AIMS),
    Generality(THESIS, methods=FRONTIER_METHODS),
    InARow(THESIS, methods=ROW_METHODS, aims=ROW_AIMS),
    # What the thesis asks (sections 3.1 and 3.4.1) or leaves open, and does not show.
    Idealized(THESIS),
    Sensitivity(THESIS),
    FirstOrderStep(THESIS),
    Ablations(THESIS, variants=VARIANTS_OF_BGD_II),
    Orders(THESIS),
    BaseNetworks(THESIS, methods=tuple(dict.fromkeys((*NON_RELOADING, *TABLE_METHODS)))),
    Variance(THESIS),
    Rounding(THESIS),
)

PAPER = Definitions(MAIN, TABLES, FIGURES, PARTS, THESIS.knowledge, REPLICAS)
