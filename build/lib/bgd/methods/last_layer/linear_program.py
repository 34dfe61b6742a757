"""The smallest change of the last layer that makes the sample right, as a linear program, with a keep-set or without.

The repair of one layer of Sotoudeh & Thakur, Provable repair of deep neural networks (PLDI 2021), whose layer is the
last one, so that its constraints are exact without a second copy of the network.
"""

from dataclasses import dataclass

import numpy as np
from torch import nn

from bgd.errors import nearest
from bgd.methods.base import Correction, Sample, Trial
from bgd.methods.last_layer.head import NOT_FINITE, NOT_FINITE_KEPT, Floats, Head, View, check_margin, widened
from bgd.methods.last_layer.program import KeepRows, Program, Rows

VERSION = 1  # raised whenever the same options may give another correction
NORMS = ("l1", "linf")


@dataclass(frozen=True)
class LastLayerLP:
    """Solves for the smallest change X (C, D) of the last layer's weights and bias, in L1 or Linf.

        minimise  ||X||  such that
        (x_t - x_c) h >= z_c - z_t + margin                         for the C - 1 rivals c of the right class t
        (x_y - x_c) h_n >= min(keep_margin, gap) - gap              for every keep image n and c other than y

    where x_c is row c of X, h the layer's input on the sample and h_n on keep image n, y = argmax_c z_nc the network's
    own class for it and gap = z_ny - z_nc. So y stays the prediction by `keep_margin`, or by what it had if that is
    less: no change of anything is needed for the keep-set alone.

    Where no X is found that meets them all, the keep-set's may be broken, at a price: `slack_price` times the sum over
    keep images of how far the worst of their rows is broken, in logits, is added to what is minimised.

    Many changes are smallest in Linf, and a solver ends at one that moves even what need not move. So of those it is
    the one that is smallest in L1.

    Few rows of the keep-set bind. Rows are added as they are found broken and the program is solved again until none
    is: what is optimal with some of the rows and meets the others is optimal with all (cutting planes).

    Attributes:
        norm: `l1` or `linf`.
        margin: By which the right class wins, in logits; the default as of `OutputBias`.
        keep: How many images of the keep-set, the first ones; at 0 the method knows nothing.
        keep_margin: By which keep images keep their class, in logits.
        slack_price: Of a broken logit of a keep image, in the unit of the norm; None: where there is no X, it fails.
    """

    norm: str = "l1"
    margin: float = 0.01
    keep: int = 0
    keep_margin: float = 0.01
    slack_price: float | None = None

    def __post_init__(self) -> None:
        check_margin(self.margin)
        if self.norm not in NORMS:
            raise ValueError(f"norm={self.norm!r}: no such norm; {nearest(self.norm, NORMS)}")
        if self.keep < 0:
            raise ValueError(f"keep={self.keep}: must be at least 0")
        if self.keep_margin < 0:
            raise ValueError(f"keep_margin={self.keep_margin}: must be at least 0")
        if self.slack_price is not None and self.slack_price <= 0:
            raise ValueError(f"slack_price={self.slack_price}: must be above 0, or null")

    def draws(self, network: nn.Module) -> bool:
        """No random numbers."""
        return False

    def correct(self, trial: Trial, sample: Sample, stream: np.random.Generator) -> Correction:
        """Solve, and again with a larger margin where rounding breaks the solution; see `Method.correct`."""
        head = Head(trial, sample)
        view = head.view(sample)
        if not view.finite:
            return Correction.failed(NOT_FINITE)
        kept = head.kept_inputs(self.keep) if self.keep else np.empty((0, head.values.shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):
            finite = bool(np.isfinite(kept @ head.values.T).all())
        if not finite:
            return Correction.failed(NOT_FINITE_KEPT)
        tries = 0
        for margin in widened(self.margin):
            change = self.solve(head.values, view, kept, margin)
            if isinstance(change, str):
                return Correction.failed(change, tries)
            tries += 1
            if head.right_with(change, sample):
                return head.correction(tries)
        return Correction.failed(f"rounding leaves it wrong by a margin of {margin:g}", tries)

    def solve(self, values: Floats, view: View, kept: Floats, margin: float) -> Floats | str:
        """Return the optimal X (C, D), or in words why there is none.

        Args:
            values: V (C, D).
            view: The sample.
            kept: h_n of the keep images (n, D).
            margin: By which the right class wins.
        """
        prices = [None] if self.slack_price is None or not len(kept) else [None, self.slack_price]
        for price in prices:
            rows = KeepRows(values, kept, self.keep_margin)
            program = Program(self.norm, price, Rows.of_sample(view, margin))
            reason = program.solve_with(rows)
            if not reason:
                return program.change
        return f"{reason} ({self.keep} keep images)" if self.keep else reason
