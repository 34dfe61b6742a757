"""How cost grows: with the number of images, and with the parameters of AlexNet; a table and a figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bgd import rng
from experiments.mnist.networks import AlexNet
from experiments.protocol.figures import Images
from experiments.report import canvas
from experiments.report.style import DOUBLE_COLUMN, network_label
from scripts.bench import tables
from scripts.bench.machine import Machine
from scripts.bench.subjects import Subject
from scripts.bench.tables import milliseconds, times
from scripts.bench.timing import least, say

LAYERS = {"mlp": ("lin1",), "alexnet": ("lin1", "conv3")}
MOST = {"mlp": 64_000, "alexnet": 16_000}  # images
STEPS = {"mlp": 4, "alexnet": 3}  # numbers of images, each four times the one before
WIDTHS = (0.25, 0.5, 1.0, 1.5)
WIDTH_IMAGES = 500
COLOURS = {"full": "#333333", "lin1": "#0072B2", "conv3": "#E69F00"}


def bench(subject: Subject, machine: Machine) -> dict[str, object]:
    """Measure one network; print the table."""
    say(f"{subject.name}: growth with the number of images")
    most = min(subject.count, MOST[subject.name])
    counts = [most // 4**step for step in reversed(range(STEPS[subject.name])) if most // 4**step >= 10]
    axes = {"images": [_point(part(subject, count), count) for count in counts]}
    if subject.name == "alexnet":
        say("alexnet: growth with the parameters")
        wide = [_wide(subject, width) for width in WIDTHS]
        axes["parameters"] = [_point(one, sum(p.numel() for p in one.network.parameters())) for one in wide]
    found: dict[str, object] = {
        "network": subject.name,
        "source": subject.source,
        "threads": machine.threads,
        "layers": list(LAYERS[subject.name]),
        "width_images": min(WIDTH_IMAGES, subject.count),
        "axes": axes,
        "exponents": {axis: _exponents(points) for axis, points in axes.items()},
    }
    _print(subject.name, found)
    return found


def part(subject: Subject, count: int) -> Subject:
    """Return a subject with the first `count` of its images, training and test in the proportion they have."""
    images = subject.images
    test = max(1, round(count * len(images.test) / subject.count))
    train = count - test
    some = Images.joined(
        images.train[:train], images.train_labels[:train], images.test[:test], images.test_labels[:test]
    )
    return replace(subject, images=some)


def _wide(subject: Subject, width: float) -> Subject:
    """Return a subject with fresh weights of another width."""
    with rng.torch_seeded(rng.stream(0, "init")):
        network = AlexNet(width=width).eval()
    return replace(part(subject, min(WIDTH_IMAGES, subject.count)), network=network)


def _point(subject: Subject, at: float) -> dict[str, float]:
    """Return the seconds of a full pass, and of an edit of a weight of each layer."""
    full, fast = subject.full(), subject.fast()
    point = {"at": at, "gflop": subject.flop * subject.count / 1e9}
    for layer in LAYERS[subject.name]:
        there = subject.edits(layer, 1)[0][0]
        if "full" not in point:
            point["full"] = least(lambda p=there: full.after(p), repeats=3, budget=4.0)
        point[layer] = least(lambda p=there: fast.after(p), repeats=5, budget=2.0)
    return point


def _exponents(points: Sequence[dict[str, float]]) -> dict[str, float | None]:
    """Return, for each line, how much the logarithm of its cost grows with that of what it is against."""
    found: dict[str, float | None] = {}
    for key in points[0].keys() - {"at", "gflop"}:
        x, y = ([math.log(point[name]) for point in points] for name in ("at", key))
        mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
        spread = sum((a - mean_x) ** 2 for a in x)
        slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
        found[key] = slope / spread if spread else None
    return found


def _print(name: str, found: dict[str, Any]) -> None:
    for axis, points in found["axes"].items():
        print(f"\n{name}: cost of evaluating one edited weight, against {axis}")
        layers = found["layers"]
        headings = [axis, "GFLOP", "full ms"] + [
            word for layer in layers for word in (f"{layer} ms", "ratio")
        ]
        rows = []
        for point in points:
            cells = [f"{point['at']:,g}", f"{point['gflop']:.3g}", milliseconds(point["full"])]
            for layer in layers:
                cells += [milliseconds(point[layer]), times(point["full"] / point[layer])]
            rows.append(cells)
        powers = found["exponents"][axis]
        rows.append(["grows as", "", power(powers["full"])])
        for layer in layers:
            rows[-1] += [power(powers[layer]), ""]
        print(tables.text(headings, rows))
    print()


def power(exponent: float | None) -> str:
    """Return how a line grows, as in ^0.98."""
    return "-" if exponent is None else f"^{exponent:.2f}"


@dataclass(frozen=True)
class Panel:
    """A panel of the figure: a network against one axis."""

    network: str
    axis: str
    layers: Sequence[str]
    points: Sequence[dict[str, float]]
    exponents: dict[str, float | None]
    images: int

    def draw(self, axes: Axes) -> None:
        """Draw the full pass and each edit, both axes logarithmic."""
        x = [point["at"] for point in self.points]
        for key in ("full", *self.layers):
            label = "full pass" if key == "full" else f"edit of {key}"
            label += f": {'n' if self.axis == 'images' else 'p'}{power(self.exponents[key])}"
            line = "-" if key == "full" else (0, (5, 1))
            axes.plot(
                x,
                [point[key] for point in self.points],
                marker="o",
                ms=3,
                ls=line,
                c=COLOURS[key],
                label=label,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(x, [_short(at) for at in x])
        axes.minorticks_off()
        more = "" if self.axis == "images" else f", {self.images:,} images"
        axes.set_xlabel(f"number of {self.axis}{more}")
        axes.set_title(network_label(self.network))
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.35)  # room for the legend
        axes.legend(loc="upper left", frameon=False)


def _short(number: float) -> str:
    """Return a number in thousands or millions."""
    if number >= 1e6:
        return f"{number / 1e6:.2g}M"
    return f"{round(number / 1e3)}k" if number >= 1e3 else f"{number:g}"


def draw(found: Sequence[dict[str, Any]], machine: Machine, folder: Path) -> Path:
    """Draw the figure into a folder; return where it is."""
    panels = [
        Panel(one["network"], axis, one["layers"], points, one["exponents"][axis], one["width_images"])
        for one in found
        for axis, points in one["axes"].items()
    ]

    def paint(figure: Figure) -> Sequence[str]:
        figure.set_size_inches(DOUBLE_COLUMN, 4.0)
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            panel.draw(axes)
        figure.axes[0].set_ylabel("seconds of an evaluation")
        sources = [f"{network_label(one['network'])}: {one['source']}." for one in found]
        return [
            f"{machine.processor}, {machine.threads} thread(s). n or p with a power: how a line grows."
            f" {' '.join(sources)} Parameters: AlexNet of {len(WIDTHS)} widths, fresh weights.",
        ]

    path = folder / "growth.png"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(canvas.draw(paint)["png"])
    return path
