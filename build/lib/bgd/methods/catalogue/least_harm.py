"""Least harm by name: what it knows, from nothing to D; corrections in a row (docs/methods/least_harm.md)."""

from dataclasses import dataclass, field
from typing import ClassVar

from bgd.methods.base import NamedMethod
from bgd.methods.hard_threshold import HardThreshold
from bgd.methods.least_harm.harm import Distance, Divergence, HarmModel, Statistic
from bgd.methods.least_harm.kronecker import Kronecker
from bgd.methods.least_harm.memory import Hardened, Protected, Refreshed
from bgd.methods.least_harm.row import LeastHarmInARow
from bgd.methods.least_harm.search import LeastHarm


@dataclass(frozen=True)
class LeastChange(LeastHarm):
    """Least change: the smallest change of the last layers in L2; least harm where nothing is known."""

    knows: ClassVar[str] = "nothing"

    price: HarmModel | None = field(default_factory=Distance)
    budget: int | None = None  # on images set aside, the more parameters share a change the less it does
    tolerance: float = 0.0  # a distance is no harm


@dataclass(frozen=True)
class LeastHarmFisher(LeastHarm):
    """Least harm by the diagonal of the Fisher information: a vector of the training data, stored once."""

    knows: ClassVar[str] = "statistic"

    price: HarmModel | None = field(default_factory=Statistic)
    budget: int | None = 20  # chosen on errors among images set aside
    tolerance: float = 0.0  # a diagonal underrates what goes together


@dataclass(frozen=True)
class LeastHarmKFAC(LeastHarm):
    """Least harm by Kronecker-factored curvature (KFAC): two matrices a layer of the training data, stored once."""

    knows: ClassVar[str] = "statistic"

    price: HarmModel | None = field(default_factory=Kronecker)


@dataclass(frozen=True)
class LeastHarmData(LeastHarm):
    """Least harm over images of D themselves, no label of them: what more knowledge than a keep-set buys."""

    knows: ClassVar[str] = "training_data"

    price: HarmModel | None = field(default_factory=lambda: Divergence(images=10000, training=True))


@dataclass(frozen=True)
class LeastHarmRow(LeastHarmInARow):
    """Least harm in a row: earlier samples count as harm beside a keep-set, and at times all is settled anew."""

    knows: ClassVar[str] = "keep_set"


@dataclass(frozen=True)
class LeastHarmRowProtected(LeastHarm):
    """Least harm in a row: beside a keep-set, a penalty on earlier samples that fall short."""

    knows: ClassVar[str] = "keep_set"

    price: HarmModel | None = field(default_factory=Protected)
    budget: int | None = 32
    tolerance: float = 0.0
    growth: float = 1.0
    tries: int = 1


@dataclass(frozen=True)
class LeastHarmRowFisher(LeastHarmFisher):
    """Least harm by the Fisher diagonal in a row: squared gradients of earlier samples' margins are added to it."""

    price: HarmModel | None = field(default_factory=Hardened)


@dataclass(frozen=True)
class LeastHarmRowKFAC(LeastHarmRowProtected):
    """Least harm by KFAC, a statistic of D, in a row: a penalty on earlier samples that fall short."""

    knows: ClassVar[str] = "statistic"

    price: HarmModel | None = field(default_factory=lambda: Protected(Kronecker()))
    budget: int | None = 128


@dataclass(frozen=True)
class LeastHarmRowKFACRefreshed(LeastHarmRowKFAC):
    """Least harm by KFAC in a row, protected, its curvature estimated anew from D every so many corrections."""

    knows: ClassVar[str] = "training_data"

    price: HarmModel | None = field(default_factory=lambda: Protected(Refreshed()))


METHODS: dict[str, type[NamedMethod]] = {
    "least_change": LeastChange,
    "least_harm_fisher": LeastHarmFisher,
    "least_harm_kfac": LeastHarmKFAC,
    "least_harm": LeastHarm,
    "least_harm_data": LeastHarmData,
    "hard_threshold": HardThreshold,
    "least_harm_row": LeastHarmRow,
    "least_harm_row_protected": LeastHarmRowProtected,
    "least_harm_row_fisher": LeastHarmRowFisher,
    "least_harm_row_kfac": LeastHarmRowKFAC,
    "least_harm_row_kfac_refreshed": LeastHarmRowKFACRefreshed,
}
