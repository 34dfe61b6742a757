"""The training-loss question: does a correction lower it, and what did the released code print in its place?

Section 4.2, metric 3, of the thesis; docs/deviations.md, D8.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.records.schema import Run
from experiments.report.canvas import Picture
from experiments.report.loss_accounts import BATCH, Accounts
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Made, Study, Text, words
from experiments.report.scope import EVERY_METHOD, Scope
from experiments.report.sheet import Block, percent
from experiments.report.style import method_style, network_label
from experiments.report.tables import read_reference
from experiments.report.training_loss_figure import paint

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
            for network in self.networks
            for method in self.methods
            if (found := Accounts.of(frames.select(network=network, method=method).samples, network, method))
        }
        printed, told = self._printed(), words("training_loss")
        lines, records = [], []
        for network in self.networks:
            for method in self.methods:
                account, thesis = accounts.get((network, method)), printed.get((network, method), [])
                names = [network_label(network), method_style(method).label]
                cells = ["missing"] + [""] * (len(told["header"]) - 4) if account is None else _cells(account)
                lines.append([*names, *cells, " / ".join(thesis)])
                numbers = (
                    ("missing", *[None] * (len(told["columns"]) - 4)) if account is None else account.numbers
                )
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
