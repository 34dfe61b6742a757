"""The report as data: what is judged, in which order it is read, and the words between."""

from experiments.report.accumulation import Accumulation
from experiments.report.assemble import HEADLINE, Report
from experiments.report.claims import Claims
from experiments.report.comparison import Comparison
from experiments.report.gallery.part import Gallery
from experiments.report.knowledge import SET_ASIDE
from experiments.report.one_correction import Distributions, SideEffects
from experiments.report.page import Chapter, Document, Figure, Fragment
from experiments.report.provenance import FRAGMENT
from experiments.report.training_loss import TrainingLoss
from experiments.thesis.tables import RANKS, REFERENCE, TABLES, THESIS

CLAIMS = REFERENCE.parents[1] / "claims.yaml"
VERDICTS = REFERENCE.with_name("verdicts.json")  # what `make verify` holds the records against

LEDGER = Claims(CLAIMS)

PARTS_OF_REPORT = (
    Gallery(),  # takes longest
    LEDGER,
    Comparison(TABLES, RANKS, REFERENCE),
    TrainingLoss(THESIS),
    Distributions(THESIS),
    SideEffects(THESIS),
    Accumulation(THESIS),
)


def _table(name: str, title: str) -> Fragment:
    return Fragment(f"tables/{name}.md", title)


def _figure(name: str, title: str, alt: str, caption: str = "") -> Figure:
    return Figure(f"figures/{name}.png", alt, caption, title)


HEAD = Chapter(
    "The short answer",
    "Every method here against the thesis' own measures. What the thesis claims, and whether it holds, is in the"
    " chapter of claims; what the words of a table mean is in its caption.",
    (
        Fragment(HEADLINE),
        _figure(
            "figure_4_8",
            "Figure 4.8",
            "Test accuracy of the MLP after each correction, a line per method",
            "Corrections in a row on the MLP: test accuracy after each sample (non-reloading setting).",
        ),
    ),
)

COST = Chapter(
    "Beyond the thesis: what a correction must cost",
    "Side effects against the number of changed parameters and against what a method may know: nothing beyond the"
    " network and the sample, a statistic of the training data, unlabelled images that are set aside, or the training"
    f" data. {SET_ASIDE}",
    (
        _table("aims", "Aims"),
        _figure(
            "frontier",
            "The frontier",
            "Loss of accuracy and negative flips against parameters changed, a curve for each level of knowledge",
        ),
        _table("frontier", "The frontier in numbers"),
        _figure(
            "generality",
            "Generality and cost",
            "Share of shifted, turned and noisy samples and of other images of the same confusion that are right",
        ),
        _table("generality", "Generality and cost in numbers"),
        _figure(
            "in_a_row",
            "In a row",
            "Loss of accuracy on untouched images and retention after each correction, every method",
        ),
        _table("in_a_row", "In a row in numbers"),
    ),
)

CLAIMED = Chapter(
    "Claims",
    "What the thesis says, in our words, and what came out. Each verdict follows from one rule and opens to the tests"
    " behind it.",
    (Fragment("report/claims.md"),),
)

NUMBERS = Chapter(
    "Every number of the thesis",
    "Cell by cell: the value that the thesis prints, ours, and by one rule whether they agree.",
    (Fragment("report/cells.md"),),
)

LOSS = Chapter(
    "Does a correction lower the training loss?",
    "",
    (
        Fragment("report/training_loss.md"),
        _table("training_loss", "Both accounts, method by method"),
        _figure(
            "training_loss",
            "Both accounts, correction by correction",
            "Left: distributions of the change in training loss; right: the released accounting against it",
        ),
    ),
)

RELOADING = Chapter(
    "One correction at a time",
    "The reloading setting: every sample is corrected starting from the same network N0 (sections 4.4 to 4.6, 4.8.2).",
    (
        _table("table_4_1", "Table 4.1: BGD and the baselines, AlexNet"),
        _table("table_4_2", "Table 4.2: BGD and the baselines, MLP"),
        _figure("figure_4_1", "Figure 4.1", "Change in training and test accuracy, BGD-II and the baselines"),
        _table("table_4_3", "Table 4.3: BGD-I and BGD-II, AlexNet"),
        _table("table_4_4", "Table 4.4: BGD-I and BGD-II, MLP"),
        _figure("figure_4_2", "Figure 4.2", "Loss of the corrected sample, by method"),
        _table("table_4_5", "Table 4.5: BGD-C, AlexNet"),
        _table("table_4_6", "Table 4.6: BGD-C, MLP"),
        _figure("figure_4_4", "Figure 4.4", "Change in training and test accuracy, BGD-II and BGD-C"),
        _table("table_4_11", "Table 4.11: BGD-Norm, AlexNet"),
        _table("table_4_12", "Table 4.12: BGD-Norm, MLP"),
        _figure("figure_4_14", "Figure 4.14", "Change in training and test accuracy, BGD-II and BGD-Norm"),
        _table("all_methods", "Every method, both settings"),
    ),
)

IN_A_ROW = Chapter(
    "One correction after the other",
    "The non-reloading setting: each sample is corrected in the network that the corrections before it left"
    " (section 4.7). What retention, drift and untouched images add to it is in the next chapter.",
    (
        _table("table_4_7", "Table 4.7: AlexNet"),
        _table("table_4_8", "Table 4.8: MLP"),
        *(
            _figure(f"figure_4_{number}", f"Figure 4.{number}", f"{label} after each correction, {network}")
            for number, label, network in (
                (5, "Test accuracy", "AlexNet"),
                (6, "Training accuracy", "AlexNet"),
                (7, "Training loss", "AlexNet"),
                (9, "Training accuracy", "MLP"),
                (10, "Training loss", "MLP"),
            )
        ),
    ),
)

BEYOND = Chapter(
    "Beyond means",
    "A mean hides the correction that ruins the network. Here: percentiles and the worst case; what happens to the"
    " predictions of other images; and, for corrections in a row, how many of them last, how far the network goes, and"
    " how much of a test accuracy is merely work-list images that were put right.",
    (
        _table("distributions", "Percentiles and worst cases"),
        _figure("distributions", "Distributions", "Percentiles of each measure, a strip per method"),
        _table("side_effects", "Side effects on other images"),
        _figure("side_effects", "Side effects", "Negative flips and lost locality, a strip per method"),
        _table("accumulation", "Corrections in a row"),
        _figure("retention", "Retention", "Share of earlier corrections still right, after each correction"),
        _figure(
            "untouched_accuracy",
            "Untouched images",
            "Test accuracy, accuracy on images that are not on the work list, and the part from the work list",
        ),
        _figure("drift", "Drift", "Parameters changed so far and distance from N0, after each correction"),
    ),
)

GRADIENTS = Chapter(
    "Where the gradient is",
    "Gradient ranks one by one, the layers' shares, and the estimated change in training loss (sections 4.6.2, 4.8).",
    (
        _table("table_4_9", "Table 4.9: gradient ranks, AlexNet"),
        _table("table_4_10", "Table 4.10: gradient ranks, MLP"),
        _figure("figure_4_11", "Figure 4.11", "Effect of updating one weight, by its gradient rank, AlexNet"),
        _figure("figure_4_12", "Figure 4.12", "Effect of updating one weight, by its gradient rank, MLP"),
        _table("layer_gradients", "Gradient magnitude of the layers"),
        _figure(
            "figure_4_13", "Figure 4.13", "Gradient magnitude of each layer before and after normalisation"
        ),
        _table("loss_change", "Estimated change in training loss"),
        _figure(
            "figure_4_3", "Figure 4.3", "Distribution of the estimated change in training loss over weights"
        ),
    ),
)

OPEN = Chapter(
    "What the thesis leaves open",
    "Choices that the thesis does not state, and questions that it asks without an answer.",
    (
        _table("ablations", "What each part of BGD-II buys"),
        _table("first_order_step", "The first-order step"),
        _table("first_order_step_bgd_i", "BGD-I's cells, step by step"),
        _figure(
            "first_order_step", "The first-order step, drawn", "Corrections and cost by first-order step"
        ),
        _table("sensitivity", "Hyper-parameters"),
        _figure(
            "sensitivity_bgd_ii", "Hyper-parameters of BGD-II", "Heat maps of POC over n, T, x and p, BGD-II"
        ),
        _figure(
            "sensitivity_bgd_i", "Hyper-parameters of BGD-I", "Heat maps of POC over n, T, x and p, BGD-I"
        ),
        _table("orders", "Other orders of the samples"),
        _figure("orders", "Other orders, drawn", "Test accuracy after each correction under five orders"),
        _table("base_networks", "Other base networks"),
        _table("variance", "What varies"),
        _table("rounding", "What rounding does"),
        _figure(
            "rounding",
            "What rounding does, drawn",
            "A dot for each run: replicas of N0 beside method seeds, orders and base networks, method by method",
        ),
        _table("idealized_selector", "The idealized selector"),
    ),
)

GALLERY = Chapter("Gallery", "", (Fragment("report/gallery.md"),))

PROVENANCE = Chapter("Provenance", "", (Fragment(FRAGMENT),))

DOCUMENT = Document(
    "Budgeted Gradient Descent: the thesis against a reproduction",
    'A report on A. Banerjee, "Budgeted Gradient Descent: Selective Gradient Optimization for Addressing'
    ' Misclassifications in DNNs" (MSc thesis, University of Alberta, 2024): every claim, table and figure of its'
    " chapter 4, made again from the records of runs, with verdicts by rules that were fixed before. A click on a"
    " column sorts a table; a click on a figure opens it larger.",
    (HEAD, COST, CLAIMED, NUMBERS, LOSS, RELOADING, IN_A_ROW, BEYOND, GRADIENTS, OPEN, GALLERY, PROVENANCE),
)

REPORT = Report(PARTS_OF_REPORT, DOCUMENT)
