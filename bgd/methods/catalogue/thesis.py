"""The thesis' methods by name: BGD and random choice, the idealized selector, retrain and L1; and BGD taken further."""

from dataclasses import dataclass, field
from typing import ClassVar

from bgd.methods.base import Method, NamedMethod
from bgd.methods.bgd.guard import CurvatureGuard, Guard
from bgd.methods.bgd.informed import ActivationPrior, CurvaturePrior
from bgd.methods.bgd.prior import InformedPrior, LayerNormalisedPrior, Prior, UniformPrior
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.bgd.update import FirstOrder, Update
from bgd.methods.descent import FineTune, SampleDescent
from bgd.methods.idealized import IdealizedSelector
from bgd.methods.smallest_step import SmallestStep
from bgd.methods.top_k import TopK


@dataclass(frozen=True)
class BGDI(SubsetSearch):
    """BGD-I: the gradient as prior, first-order updates (section 4.5.1)."""

    knows: ClassVar[str] = "nothing"

    update: Update = field(default_factory=FirstOrder)


@dataclass(frozen=True)
class BGDII(SubsetSearch):
    """BGD-II, or BGD: the gradient as prior, second-order updates (chapter 3)."""

    knows: ClassVar[str] = "nothing"


@dataclass(frozen=True)
class BGDC(SubsetSearch):
    """BGD-C: BGD-II that draws parameters again where the training loss is sensitive, by its gradient (section 4.6)."""

    knows: ClassVar[str] = "statistic"

    guard: Guard | None = field(default_factory=CurvatureGuard)


@dataclass(frozen=True)
class BGDNorm(SubsetSearch):
    """BGD-Norm: BGD-II with the prior normalised layer by layer (section 4.8.2)."""

    knows: ClassVar[str] = "nothing"

    prior: Prior | InformedPrior = field(default_factory=LayerNormalisedPrior)


@dataclass(frozen=True)
class Random(SubsetSearch):
    """Random: BGD-II's search and update with a uniform choice of parameters (section 4.7)."""

    knows: ClassVar[str] = "nothing"

    prior: Prior | InformedPrior = field(default_factory=UniformPrior)


@dataclass(frozen=True)
class Idealized(IdealizedSelector):
    """Idealized: retrain on the sample, then restore every parameter it is right without (Algorithm 1, section 3.1)."""

    knows: ClassVar[str] = "nothing"


@dataclass(frozen=True)
class Retrain(SampleDescent):
    """Retrain: SGD on the sample, every parameter (section 4.3)."""

    knows: ClassVar[str] = "nothing"


@dataclass(frozen=True)
class L1(SampleDescent):
    """L1: retrain with a penalty on the size of all parameters (Eq. 2.4, section 4.3); its factor: released code."""

    knows: ClassVar[str] = "nothing"

    l1: float = 0.01


@dataclass(frozen=True)
class BGDActivation(SubsetSearch):
    """BGD-II with the activations of the sample as prior (section 5.2, a future direction)."""

    knows: ClassVar[str] = "nothing"

    prior: Prior | InformedPrior = field(default_factory=ActivationPrior)


@dataclass(frozen=True)
class BGDHarm(SmallestStep):
    """BGD-II with a prior that counts harm by the Fisher diagonal of D, and its smallest step; not in the thesis."""

    knows: ClassVar[str] = "statistic"

    inner: Method = field(default_factory=lambda: SubsetSearch(prior=CurvaturePrior()))


METHODS: dict[str, type[NamedMethod]] = {
    "bgd_ii": BGDII,
    "bgd_i": BGDI,
    "bgd_c": BGDC,
    "bgd_norm": BGDNorm,
    "random": Random,
    "idealized": Idealized,
    "retrain": Retrain,
    "fine_tune": FineTune,
    "l1": L1,
    "top_k": TopK,
    "bgd_activation": BGDActivation,
    "bgd_harm": BGDHarm,
}
