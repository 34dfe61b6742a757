"""The training-loss question: does a correction lower it, and what did the released code print in its place?

Section 4.2, metric 3, of the thesis; docs/deviations.md, D8.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.records.schema import Run
from experiments.report.canvas import Picture, blank, grid
from experiments.report.loss_accounts import BATCH, Accounts
from experiments.report.metrics import MISSING
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Made, Study, Text, words
from experiments.report.scope import EVERY_METHOD, Scope
from experiments.report.sheet import Block, percent
from experiments.report.statistics import Values
from experiments.report.style import DOUBLE_COLUMN, method_style, network_label
from experiments.report.tables import read_reference

LINEAR = 1e-3  # nats: within it the axis of dTL is linear
# Of the accounts against each other; more would hide them.
SHOWN = ("bgd_ii", "bgd_i", "retrain", "top_k", "random")
GREY = "#555555"

FRAGMENT = "report/training_loss.md"

Printed = dict[tuple[str, str], list[str]]  # by network and method


@dataclass(frozen=True)
class TrainingLoss(Study):
    """A table, a figure and a page of prose on both accounts of the training loss."""

    presets: tuple[str, ...] = ("every_method",)
    methods: tuple[str, ...] = EVERY_METHOD
    tables = ("training_loss",)
    figures = ("training_loss",)
    texts = (FRAGMENT,)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table, the figure and the prose."""
        scope = Scope("reloading", self.networks, self.methods, self.thesis)
        frames = scope.frames(runs)
        accounts = {
            (network, method): found
            for network, method in product(self.networks, self.methods)
            if (found := Accounts.of(frames.select(network=network, method=method).samples, network, method))
        }
        printed, told = self._printed(), words("training_loss")
        lines, records = [], []
        for network, method in product(self.networks, self.methods):
            account, thesis = accounts.get((network, method)), printed.get((network, method), [])
            cells = _cells(account) if account else [MISSING, *[""] * 10]
            numbers = account.numbers if account else (MISSING, *[None] * 11)
            lines.append([network_label(network), method_style(method).label, *cells, " / ".join(thesis)])
            records.append((network, method, *numbers, ";".join(thesis)))
        yield self.sheet(
            scope.caption(frames), scope.warnings(frames), [Block("", told["header"], lines)], records
        )
        yield Picture(
            "training_loss",
            lambda figure: [*paint(figure, self.networks, accounts), *scope.footnotes(frames)],
        )
        prose = ["missing: no run of the main preset in the reloading setting is among the records."]
        if accounts:
            about = (self._about(network, accounts, printed) for network in self.networks)
            prose = [told["question"], told["algebra"], *about, told["conclusion"]]
        yield Text(FRAGMENT, "\n\n".join(prose) + "\n")

    def _printed(self) -> Printed:
        """Return the thesis' values of dTL by network and method, each once, in the order of its tables."""
        values = read_reference(self.thesis.tables)
        values = values[(values["metric"] == "dTL") & (values["setting"] == "reloading")]
        groups = values.groupby(["network", "method"])["mean"]
        return {
            (str(network), str(method)): [f"{mean:g}" for mean in own.unique()]
            for (network, method), own in groups
        }

    def _about(self, network: str, accounts: Mapping[tuple[str, str], Accounts], printed: Printed) -> str:
        """Compare both accounts on one network."""
        own = {method: account for (name, method), account in accounts.items() if name == network}
        if not own:
            return f"**{network_label(network)}.** missing: no run among the records."
        some = next(iter(own.values()))
        sizes = f"(N = {format_count(some.images)}, L₀ = {some.base_loss:.4f}, -L₀/64 = {some.constant:.5f})"
        parts = [f"**{network_label(network)}** {sizes}."]
        parts += [_about_method(method, own[method]) for method in ("bgd_ii", "bgd_i") if method in own]
        near = [
            name for name, account in own.items() if np.abs(account.released - account.constant).max() < 1e-3
        ]
        names = ", ".join(method_style(name).label for name in near) or "no method"
        parts.append(f"Every single correction of {names} is within 0.001 of -L₀/64 in the released account.")
        values = dict.fromkeys(
            value for name in ("bgd_ii", "bgd_i") for value in printed.get((network, name), [])
        )
        if values:
            implied = ", ".join(f"{-BATCH * float(value):.2f}" for value in values)
            start = f"The thesis prints {', '.join(values)} for BGD-II and BGD-I"
            parts.append(f"{start}: as -L₀/64 these would need L₀ = {implied}.")
        return " ".join(parts)


def _about_method(method: str, account: Accounts) -> str:
    text: str = words("training_loss")["method"]
    return text.format(
        label=method_style(method).label,
        mean=account.true.mean(),
        low=account.interval.low,
        high=account.interval.high,
        median=np.median(account.true),
        n=account.true.size,
        lowered=percent(account.lowered),
        released=account.released.mean(),
        spread=account.released.std(ddof=0),
    )


def _cells(account: Accounts) -> list[str]:
    values = dict(zip(words("training_loss")["columns"][3:-1], account.numbers[1:], strict=True))
    values["lowered_share"] = round(100 * account.lowered, 2)
    del values["bound"]
    cells = ["" if value is None else format_number(value) for value in values.values()]
    return [format_count(account.true.size), *cells]


def paint(figure: Figure, networks: Sequence[str], accounts: Mapping[tuple[str, str], Accounts]) -> list[str]:
    """Draw, for each network, how dTL is distributed and the two accounts against each other; return notes."""
    size, columns = (DOUBLE_COLUMN, 2.6 * len(networks) + 0.4), (_distributions, _against)
    for letter, axes, network, draw in grid(figure, size, networks, columns):
        own = {method: account for (name, method), account in accounts.items() if name == network}
        title = "ΔTL, as defined" if draw is _distributions else "both accounts"
        axes.set_title(f"{letter} {network_label(network)}: {title}")
        if own:
            draw(axes, own)
        else:
            blank(axes, "missing: no run\namong the records")
    return [words("training_loss")["figure"].format(linear=LINEAR)]


def _distributions(axes: Axes, accounts: Mapping[str, Accounts]) -> None:
    for method, account in accounts.items():
        style, ordered = method_style(method), np.sort(account.true)
        shares = np.arange(1, ordered.size + 1) / ordered.size
        axes.step(ordered, shares, where="post", color=style.colour, linestyle=style.line, label=style.short)
    axes.set_xscale("symlog", linthresh=LINEAR)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(_decades(np.concatenate([account.true for account in accounts.values()])))
    axes.set_xlabel("ΔTL (nats)")
    axes.set_ylabel("share of the corrections")
    axes.legend(loc="lower right", frameon=False, fontsize=6, handlelength=1.6)


def _decades(values: Values) -> list[float]:
    """Return marks of an axis that is linear within `LINEAR`: every second decade that has values."""
    marks = [0.0]
    for sign in (-1.0, 1.0):
        reach = float((sign * values).max())
        steps = range(0, max(0, int(np.ceil(np.log10(reach / LINEAR)))) + 1, 2) if reach > LINEAR else ()
        marks += [sign * LINEAR * 10.0**step for step in steps]
    return sorted(marks)


def _against(axes: Axes, accounts: Mapping[str, Accounts]) -> None:
    constant = list(accounts.values())[-1].constant
    own = {method: account for method, account in accounts.items() if method in SHOWN}
    for depth, (method, account) in enumerate(own.items()):  # BGD-II on top
        style = method_style(method)
        (dots,) = axes.plot(
            account.true,
            account.released,
            ".",
            markersize=2.5,
            color=style.colour,
            alpha=0.6,
            label=style.short,
        )
        dots.set_zorder(3 - depth / 10)
        dots.set_rasterized(True)
    axes.axhline(constant, color=GREY, linestyle=(0, (4, 2)), linewidth=0.8)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xscale("symlog", linthresh=LINEAR)
    axes.set_yscale("symlog", linthresh=abs(constant))
    true = np.concatenate([account.true for account in own.values()] or [np.zeros(1)])
    released = np.concatenate([account.released for account in own.values()] or [np.zeros(1)])
    axes.set_xticks(_decades(true))
    axes.set_xlim(2 * min(true.min(), -LINEAR), 3 * max(true.max(), LINEAR))
    powers = range(-2, 9, 2)
    labels = ["-L₀/64", "0", *(f"$10^{{{power}}}$" for power in powers)]
    axes.set_yticks([constant, 0.0, *(10.0**power for power in powers)], labels)
    axes.set_ylim(3 * constant, 3 * max(released.max(), -constant))
    axes.set_xlabel("ΔTL, as defined (nats)")
    axes.set_ylabel("released accounting")
    if own:
        axes.legend(loc="upper left", frameon=False, fontsize=6, handlelength=1.0, markerscale=3)
