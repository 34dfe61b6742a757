"""The training-loss question: does a correction lower it, and what did the released code print in its place?

Section 4.2, metric 3, of the thesis; docs/deviations.md, D8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.records.schema import Run
from experiments.report.canvas import draw
from experiments.report.frames import Frames
from experiments.report.knowledge import Knowledge
from experiments.report.loss_accounts import BATCH, Accounts
from experiments.report.numbers import format_count, format_number
from experiments.report.scope import EVERY_METHOD, Scope
from experiments.report.sheet import Block, Sheet, percent, sheet_names
from experiments.report.style import NETWORKS, method_style, network_label
from experiments.report.tables import read_reference
from experiments.report.training_loss_figure import paint


@dataclass(frozen=True)
class TrainingLoss:
    """A table, a figure and a page of prose on both accounts of the training loss.

    Attributes:
        reference: The thesis' values, as `experiments.report.tables.read_reference` reads them.
        presets: Whose runs.
        networks, methods: Lines, in this order.
        thesis_errors: By network, how many test images the thesis' N0 gets wrong.
        knowledge: The level of each method, for the caption.
    """

    reference: Path
    presets: tuple[str, ...] = ("every_method",)
    networks: tuple[str, ...] = tuple(NETWORKS)
    methods: tuple[str, ...] = EVERY_METHOD
    thesis_errors: tuple[tuple[str, int], ...] = ()
    knowledge: Knowledge = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the part."""
        figures = (f"figures/training_loss.{kind}" for kind in ("png", "svg"))
        return (*sheet_names("training_loss"), *figures, "report/training_loss.md")

    def files(self, runs: Sequence[Run]) -> dict[str, bytes]:
        """Return the content of each file; see `experiments.report.part.Part`."""
        scope = Scope("reloading", self.networks, self.methods, self.thesis_errors, self.knowledge)
        frames = scope.frames(runs)
        accounts = {
            (network, method): found
            for network in self.networks
            for method in self.methods
            if (found := Accounts.of(frames.select(network=network, method=method).samples, network, method))
        }
        true = {key: account.true for key, account in accounts.items()}
        released = {key: account.released for key, account in accounts.items()}
        constants = {network: account.constant for (network, _), account in accounts.items()}
        notes = scope.footnotes(frames)
        images = draw(lambda figure: paint(figure, self.networks, true, released, constants, notes))
        return {
            **self._sheet(scope, frames, accounts).files(),
            **{f"figures/training_loss.{kind}": image for kind, image in images.items()},
            "report/training_loss.md": self._prose(accounts).encode(),
        }

    def _printed(self) -> dict[tuple[str, str], list[float]]:
        """Return the thesis' values of dTL by network and method, each once, in the order of its tables."""
        values = read_reference(self.reference)
        values = values[(values["metric"] == "dTL") & (values["setting"] == "reloading")]
        found: dict[tuple[str, str], dict[float, None]] = {}
        for network, method, mean in zip(values["network"], values["method"], values["mean"], strict=True):
            found.setdefault((str(network), str(method)), {})[float(mean)] = None
        return {key: list(means) for key, means in found.items()}

    def _sheet(self, scope: Scope, frames: Frames, accounts: dict[tuple[str, str], Accounts]) -> Sheet:
        printed = self._printed()
        lines, records = [], []
        for network in self.networks:
            for method in self.methods:
                account = accounts.get((network, method))
                thesis = printed.get((network, method), [])
                names = [network_label(network), method_style(method).label]
                cells = ["missing"] + [""] * (len(_HEADER) - 4) if account is None else _cells(account)
                lines.append([*names, *cells, " / ".join(f"{value:g}" for value in thesis)])
                records.append((network, method, *_record(account), ";".join(f"{x:g}" for x in thesis)))
        return Sheet(
            name="training_loss",
            heading="Training loss",
            caption=" ".join([_MEANING, *scope.caption(frames)]),
            warnings=scope.warnings(frames),
            blocks=[Block("", _HEADER, lines)],
            columns=_COLUMNS,
            records=records,
        )

    def _prose(self, accounts: dict[tuple[str, str], Accounts]) -> str:
        if not accounts:
            return "missing: no run of the main preset in the reloading setting is among the records.\n"
        return "\n\n".join([_question(), ALGEBRA, *self._per_network(accounts), _CONCLUSION]) + "\n"

    def _per_network(self, accounts: dict[tuple[str, str], Accounts]) -> list[str]:
        texts, printed = [], self._printed()
        for network in self.networks:
            own = {method: account for (name, method), account in accounts.items() if name == network}
            if not own:
                texts.append(f"**{network_label(network)}.** missing: no run among the records.")
                continue
            texts.append(_about_network(network, own, printed))
        return texts


def _about_network(
    network: str, own: dict[str, Accounts], printed: dict[tuple[str, str], list[float]]
) -> str:
    """Return the comparison of both accounts on one network."""
    some = next(iter(own.values()))
    parts = [
        f"**{network_label(network)}** (N = {format_count(some.images)}, L₀ = {some.base_loss:.4f},"
        f" -L₀/64 = {some.constant:.5f})."
    ]
    for method in ("bgd_ii", "bgd_i"):
        if method in own:
            account = own[method]
            low, high = account.interval.low, account.interval.high
            parts.append(
                f"By the definition {method_style(method).label} changes the training loss by"
                f" {account.true.mean():+.3g} nats on average (95 % interval {low:+.3g} to {high:+.3g}, median"
                f" {np.median(account.true):+.3g}, {format_count(account.true.size)} corrections);"
                f" {percent(account.lowered)} % of its corrections lower it. In the released account the"
                f" same corrections give {account.released.mean():.5f} ± {account.released.std(ddof=0):.1e}."
            )
    near = [name for name, account in own.items() if np.abs(account.released - account.constant).max() < 1e-3]
    names = ", ".join(method_style(name).label for name in near) or "no method"
    parts.append(f"Every single correction of {names} is within 0.001 of -L₀/64 in the released account.")
    values = [value for name in ("bgd_ii", "bgd_i") for value in printed.get((network, name), [])]
    if values:
        shown = ", ".join(f"{value:g}" for value in dict.fromkeys(values))
        implied = ", ".join(f"{-BATCH * value:.2f}" for value in dict.fromkeys(values))
        parts.append(
            f"The thesis prints {shown} for BGD-II and BGD-I: as -L₀/64 these would need L₀ = {implied}."
        )
    return " ".join(parts)


def _question() -> str:
    return (
        "The thesis states that BGD lowers the training loss while every baseline raises it (tables 4.1 to 4.6, 4.11"
        " and 4.12). Its definition (section 4.2) is ΔTLᵢ = Lᵢ - L₀, with L the mean cross-entropy over all of D,"
        " after correction i and before it. The table and the figure below show that quantity for every"
        " correction, and beside it what the released code computes, from the same networks."
    )


ALGEBRA = """\
**What the released code computes.** With N images in batches of 64, ℓ_b(θ) the mean loss of batch b, and r images
in the last batch:

- before a correction: R₀ = (1/N) Σ_b ℓ_b(θ₀), a sum of batch means over the number of *images*. Since the full
  batches hold 64 images each, Σ_b ℓ_b(θ₀) = N L₀ / 64 + (1 - r/64) ℓ_last(θ₀), so R₀ = L₀/64 + (1 - r/64) ℓ_last(θ₀)/N;
- after it: Rᵢ = ℓ_last(θᵢ) / N, the *last batch alone* over the number of images.

Hence Rᵢ - R₀ = -L₀/64 + [ℓ_last(θᵢ) - (1 - r/64) ℓ_last(θ₀)] / N. The first term is the same for every correction.
The second has the correction in it, through at most 64 of the N images and divided by N once more: the sum is
negative for every correction that leaves the last batch's mean loss below about N L₀ / 64 nats, whatever it does to the
training loss."""

_CONCLUSION = """\
**What this shows, and what it does not.** By the thesis' definition, on the networks here, the statement does not hold
for BGD-II: on average its corrections raise the training loss, and the table says for which share of the samples they
lower it. The released account prints a small negative number with hardly any spread for good and bad corrections of
every method alike, which is also how the thesis' BGD rows look; its baselines are printed with positive values and a
larger spread, so not all rows of the thesis can come from this account. That the BGD rows do is an inference: the
sign and the small spread fit, the size implies an L₀ that need not be that of the thesis' networks, which are not
published, and another batch size would change it. Where this report compares cell by cell, the thesis' values are
therefore set beside our released account, and called not comparable where their sign is not the one that it has."""

_HEADER = (
    *("network", "method", "n", "ΔTL, mean", "95 % low", "95 % high", "median", "lowered (%)"),
    *("released, mean", "released, sd", "-L₀/64", "farthest from it", "rank correlation", "thesis"),
)
_COLUMNS = (
    *("network", "method", "n", "mean", "low", "high", "median", "lowered_share"),
    *("released_mean", "released_sd", "constant", "farthest", "bound", "rank_correlation", "thesis"),
)
_MEANING = (
    "The change in training loss, in nats, by the definition of section 4.2, and in the released code's accounting,"
    " over the same n corrections (pairs of seed and sample, reloading, corrected, finite losses)."
    " 95 %: interval of the mean from a hierarchical bootstrap over seeds and samples. Lowered: share of the"
    " corrections with ΔTL < 0. Released: mean and standard deviation over the corrections; farthest from"
    " -L₀/64: over all corrections. Rank correlation: Spearman's between the two accounts. Thesis: every value that"
    " its tables print for ΔTL of the method, reloading."
)


def _record(account: Accounts | None) -> tuple[object, ...]:
    if account is None:
        return ("missing", *[None] * (len(_COLUMNS) - 4))
    return (
        account.true.size,
        float(account.true.mean()),
        account.interval.low,
        account.interval.high,
        float(np.median(account.true)),
        account.lowered,
        float(account.released.mean()),
        float(account.released.std(ddof=1)) if account.released.size > 1 else None,
        account.constant,
        float(np.abs(account.released - account.constant).max()),
        account.bound,
        account.rank_correlation,
    )


def _cells(account: Accounts) -> list[str]:
    values = dict(zip(_COLUMNS[2:-1], _record(account), strict=True))
    values["lowered_share"] = round(100 * account.lowered, 2)
    values.pop("bound")
    count = format_count(account.true.size)
    return [count, *("" if x is None else format_number(float(str(x))) for x in list(values.values())[1:])]
