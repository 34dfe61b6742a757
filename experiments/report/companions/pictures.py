"""Figures of the companion studies."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report.canvas import blank, grid
from experiments.report.companions.evidence import Evidence
from experiments.report.companions.others import METHODS
from experiments.report.companions.rules import OURS, RULES, SETS, ours_of
from experiments.report.part import words
from experiments.report.style import DOUBLE_COLUMN

NONE = "no records"
SHOWN = (
    "small_sgd",
    "large_sgd",
    "large_l2",
    "large_selective",
    "large_l2_stopped",
    "large_l2_stopped_selective",
)
CURVES = ("xor", "xord", "synthetic", "mnist")
TESTED = [name for name in SETS if (name, "test") in OURS and name not in ("xor", "cifar")]
COLOURS = {rule: f"C{number}" for number, rule in enumerate(RULES)}
AWAY = ("norm", "test")  # what a scatter is of


def draw_curves(figure: Figure, evidence: Evidence) -> Sequence[str]:
    """Draw training, test and norm by epoch for tanh: mean and a band of two deviations."""
    rows, columns = ("train", "test", "norm"), [name for name in CURVES if evidence.rows(name)] or ["xor"]
    for _, axes, metric, study in grid(figure, (DOUBLE_COLUMN, 5.4), rows, columns):
        if metric == "train":
            axes.set_title(SETS[study])
        if metric == "test" and study == "xor":
            blank(axes, "no test set")
            continue
        name, factor = ours_of(study, metric)
        for rule in SHOWN:
            _band(axes, evidence, study, f"tanh/{rule}", name, factor)
        axes.set_ylabel(name.replace("_", " "))
        if metric == "norm" or name.endswith("loss"):
            axes.set_yscale("log")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return [words("companions_rules")["curves"]]


def _band(axes: Axes, evidence: Evidence, study: str, arm: str, name: str, factor: float) -> None:
    rows = evidence.rows(study, arm)
    if not rows:
        return
    values = factor * np.array([row.curves[name] for row in rows], dtype=np.float64)
    steps = np.array(rows[0].curves["step"], dtype=np.float64)
    steps = steps / max(steps[-1], 1)
    rule = arm.partition("/")[2]
    with np.errstate(invalid="ignore"):
        mean, sd = values.mean(0), values.std(0)
    axes.plot(steps, mean, color=COLOURS[rule], linewidth=1, label=RULES[rule])
    low, high = np.maximum(mean - 2 * sd, values.min(0)), np.minimum(mean + 2 * sd, values.max(0))
    axes.fill_between(steps, low, high, color=COLOURS[rule], alpha=0.15, linewidth=0)


def draw_scatter(figure: Figure, evidence: Evidence) -> Sequence[str]:
    """Draw norm against test over the rules, each divided by the largest of its set: figure 5.39."""
    studies = [name for name in TESTED if evidence.rows(name)] or TESTED[:1]
    for _, axes, activation, study in grid(figure, (DOUBLE_COLUMN, 4.4), ("tanh", "relu"), studies):
        name, factor = ours_of(study, "test")
        points = {
            rule: (evidence.spread(study, f"{activation}/{rule}", "norm").mean,
                   evidence.spread(study, f"{activation}/{rule}", name, factor).mean)
            for rule in RULES
        }  # fmt: skip
        known = {rule: pair for rule, pair in points.items() if np.isfinite(pair).all()}
        if not known:
            blank(axes, NONE)
            continue
        largest = np.max(list(known.values()), axis=0)
        for rule, pair in known.items():
            axes.plot(*(np.array(pair) / largest), "o", color=COLOURS[rule], markersize=4, label=RULES[rule])
        axes.set_title(f"{SETS[study]}, {activation}")
        axes.set_xlabel("norm / largest")
        axes.set_ylabel(f"test {name.split('_')[1]} / largest")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return [words("companions_rules")["scatter"]]


def draw_eigenvalues(figure: Figure, evidence: Evidence) -> Sequence[str]:
    """Draw the largest eigenvalues: both ways against the dense Hessian, and at the end of training by rule."""
    figure.set_size_inches(DOUBLE_COLUMN, 3.0)
    left, right = figure.subplots(1, 2)
    rows = evidence.rows("eigenvalues", "tanh")
    if rows:
        for name, look in (("dense", "o"), ("power", "x"), ("lanczos", "+")):
            values = rows[0].vectors[name]
            left.plot(
                np.arange(1, len(values) + 1),
                np.array(values, dtype=float),
                look,
                label=name,
                fillstyle="none",
            )
        left.set_xlabel("eigenvalue, by magnitude")
        left.legend(frameon=False)
    else:
        blank(left, NONE)
    _bars(right, evidence)
    return [words("companions_eigenvalues")["figure"]]


def _bars(axes: Axes, evidence: Evidence) -> None:
    found = [(study, act, rule) for study in ("xor", "xord", "synthetic") for act in ("tanh", "relu")
             for rule in ("small_sgd", "large_sgd")]  # fmt: skip
    known = [(each, evidence.spread(each[0], f"{each[1]}/{each[2]}", "eigenvalue")) for each in found]
    known = [(each, spread) for each, spread in known if spread.n and abs(spread.mean) > 0]
    if not known:
        blank(axes, NONE)
        return
    for place, ((_, _, rule), spread) in enumerate(known):
        axes.bar(place, abs(spread.mean), yerr=spread.sd or 0, color=COLOURS[rule], label=RULES[rule])
    names = [f"{SETS[study]} {act}" if rule == "small_sgd" else "" for (study, act, rule), _ in known]
    axes.set_xticks(range(len(known)), names, rotation=45, ha="right", fontsize=6)
    axes.set_yscale("log")
    axes.set_ylabel("largest eigenvalue at the end")
    handles, labels = axes.get_legend_handles_labels()
    seen = dict(zip(labels, handles, strict=True))
    axes.legend(seen.values(), seen.keys(), frameon=False)


def draw_quivers(figure: Figure, evidence: Evidence) -> Sequence[str]:
    """Draw the vectors from a pair of inputs to hidden units on XOR and XORD, one network a panel."""
    sides = [(study, activation) for study in ("xor", "xord") for activation in ("tanh", "relu")]
    rules = ("small_sgd", "large_sgd", *SHOWN[3:])
    for _, axes, (study, activation), rule in grid(figure, (DOUBLE_COLUMN, 6.4), sides, rules):
        axes.set_title(f"{RULES[rule]},\n{SETS[study]}, {activation}", fontsize=7)
        rows = evidence.rows(study, f"{activation}/{rule}")
        vectors = rows[0].vectors.get("weights_0", ()) if rows else ()
        if not vectors or None in vectors:
            blank(axes, NONE)
            continue
        points = np.array(vectors, dtype=np.float64).reshape(-1, 2)
        reach = max(1e-9, float(np.abs(points).max())) * 1.1
        zeros = np.zeros(len(points))
        axes.quiver(zeros, zeros, *points.T, angles="xy", scale_units="xy", scale=1, color="C0", width=0.01)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    return [words("companions_rules")["quivers"]]


def draw_field(figure: Figure, _: Evidence) -> Sequence[str]:
    """Draw what Metric and L2 take from f = theta_2 tanh(theta_1 x), for a squared error at x = 1 and target 1."""
    figure.set_size_inches(DOUBLE_COLUMN, 3.0)
    one, two = np.meshgrid(np.linspace(-2, 2, 17), np.linspace(-2, 2, 17))
    for axes, title, (first, second) in zip(
        figure.subplots(1, 2),
        ("Metric: -|h| sign(theta)", "L2: -theta"),
        (metric_field(one, two), (-one, -two)),
        strict=True,
    ):
        size = np.hypot(first, second)
        unit = np.where(size == 0, 1, size)
        axes.quiver(one, two, first / unit, second / unit, np.log1p(size), cmap="viridis", width=0.005)
        axes.set(title=title, xlabel="theta 1", ylabel="theta 2", aspect="equal")
    return [words("companions_rules")["field"]]


def metric_field(
    one: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    two: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> tuple[
    np.ndarray[tuple[int, ...], np.dtype[np.float64]], np.ndarray[tuple[int, ...], np.dtype[np.float64]]
]:
    """Give -|h| sign(theta), h = H theta, for the loss (theta_2 tanh(theta_1) - 1)^2."""
    a = np.tanh(one)
    slope, bend = 1 - a**2, -2 * a * (1 - a**2)
    error = two * a - 1
    h11 = 2 * ((two * slope) ** 2 + error * two * bend)
    h12 = 2 * (two * slope * a + error * slope)
    h22 = 2 * a**2
    return -np.abs(h11 * one + h12 * two) * np.sign(one), -np.abs(h12 * one + h22 * two) * np.sign(two)


def draw_corrections(figure: Figure, evidence: Evidence) -> Sequence[str]:
    """Draw the change of test accuracy by a correction, by how the network was trained."""
    figure.set_size_inches(DOUBLE_COLUMN, 3.0)
    arms = list(dict.fromkeys(row.job.arm for row in evidence.rows("corrections")))
    for axes, (method, title) in zip(
        figure.subplots(1, len(METHODS), sharey=True), METHODS.items(), strict=True
    ):
        if not arms:
            blank(axes, NONE)
            continue
        for place, arm in enumerate(reversed(arms)):
            spread = evidence.spread("corrections", arm, f"{method}.accuracy")
            axes.plot(spread.values, [place] * spread.n, ".", color="C0", alpha=0.5)
            axes.plot([spread.mean], [place], "d", color="C1")
        axes.set_yticks(range(len(arms)), list(reversed(arms)))
        axes.set_title(title, fontsize=7)
        axes.set_xlabel("ΔTA (points)")
    return [words("companions_corrections")["figure"]]
