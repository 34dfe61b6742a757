"""The training loss after a correction in two accounts: as the thesis defines it, and as the released code reckons.

docs/deviations.md, D8.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from experiments.report.metrics import corrected, released_training_loss_change, training_loss_change
from experiments.report.statistics import Interval, Values, bootstrap_mean

BATCH = 64  # of the released accounting


@dataclass(frozen=True)
class Accounts:
    """Both accounts of a method's corrected samples.

    Attributes:
        true, interval: dTL by its definition (n,), in nats, and the 95 % interval of its mean.
        released: What the released code would print (n,).
        base_loss, images: L_0, N0's mean cross-entropy over D, and |D|.
        bound: By how much `released` can differ from -L_0 / 64 at most: the largest last-batch term of any sample.
    """

    true: Values
    released: Values
    interval: Interval
    base_loss: float
    images: int
    bound: float

    @classmethod
    def of(cls, samples: pd.DataFrame, *name: str) -> "Accounts | None":
        """Return them for one method on one network; None where no corrected sample has finite losses."""
        rows = samples[corrected(samples)]
        true, released = training_loss_change(rows), released_training_loss_change(rows)
        finite = np.isfinite(true) & np.isfinite(released)
        if not finite.any():
            return None
        rows, true, released = rows[finite], true[finite], released[finite]
        last_before = _last_batch_before(rows)
        return cls(
            true,
            released,
            bootstrap_mean(true, rows["seed"], rows["index"], "training_loss", *name),
            float(rows["base_train_loss"].iloc[0]),
            int(rows["train_images"].iloc[0]),
            float(max(rows["released_after"].max(), last_before)),
        )

    @property
    def lowered(self) -> float:
        """Share of the samples whose correction lowered the training loss, in [0, 1]."""
        return float((self.true < 0).mean())

    @property
    def constant(self) -> float:
        """-L_0 / 64: what the released account is but for one batch."""
        return -self.base_loss / BATCH

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's between both accounts; None where one of them is constant."""
        if self.true.size < 2 or np.ptp(self.true) == 0 or np.ptp(self.released) == 0:
            return None
        return float(spearmanr(self.true, self.released).statistic)

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """What the table has, from n on."""
        true, released = self.true, self.released
        of_true = (float(true.mean()), self.interval.low, self.interval.high, float(np.median(true)))
        spread = float(released.std(ddof=1)) if released.size > 1 else None
        furthest = float(np.abs(released - self.constant).max())
        of_released = (float(released.mean()), spread, self.constant, furthest, self.bound)
        return (true.size, *of_true, self.lowered, *of_released, self.rank_correlation)


def _last_batch_before(rows: pd.DataFrame) -> float:
    """Return N0's mean loss on the last batch over |D|: what its two figures leave no choice for."""
    images = int(rows["train_images"].iloc[0])
    short = 1 - ((images - 1) % BATCH + 1) / BATCH
    rest = float(rows["base_released_before"].iloc[0]) - float(rows["base_train_loss"].iloc[0]) / BATCH
    return rest / short if short else 0.0
