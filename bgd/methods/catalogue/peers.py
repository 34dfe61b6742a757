"""Methods of the literature by name: dense changes, and changes of the last layer alone."""

from dataclasses import dataclass, field
from typing import ClassVar

from bgd.curvature.base import Estimator
from bgd.curvature.diagonal import TrueFisher
from bgd.methods.anchored import (
    AnchoredDescent,
    ElasticWeightConsolidation,
    KeepSetDivergence,
    Penalty,
    StartingPoint,
)
from bgd.methods.base import NamedMethod
from bgd.methods.last_layer.fault_sneaking import FaultSneaking
from bgd.methods.last_layer.linear_program import LastLayerLP
from bgd.methods.last_layer.output_bias import OutputBias
from bgd.methods.last_layer.weight import LastLayerWeight
from bgd.methods.lora import LoRA
from bgd.methods.rank_one import RankOne, SecondMoment
from bgd.methods.rehearsal import Rehearsal


@dataclass(frozen=True)
class EWC(AnchoredDescent):
    """EWC: retrain, parameters held back by their Fisher information over D (Kirkpatrick et al. 2017, Eq. 3)."""

    knows: ClassVar[str] = "statistic"

    penalty: Penalty = field(default_factory=ElasticWeightConsolidation)


@dataclass(frozen=True)
class L2SP(AnchoredDescent):
    """L2-SP: retrain on the sample, all parameters held back alike (Li, Grandvalet, Davoine 2018)."""

    knows: ClassVar[str] = "nothing"

    penalty: Penalty = field(default_factory=StartingPoint)


@dataclass(frozen=True)
class KLRetrain(AnchoredDescent):
    """KL-retrain: retrain, answers to images of a keep-set held to N0's (as in Li & Hoiem 2016)."""

    knows: ClassVar[str] = "keep_set"

    steps: int = 40  # what 100 would correct besides takes a large network long
    penalty: Penalty = field(default_factory=KeepSetDivergence)


@dataclass(frozen=True)
class RankOneStatistic(RankOne):
    """ROME with C the second moment of the layer's inputs over D (Meng et al. 2022, Eq. 2)."""

    knows: ClassVar[str] = "statistic"

    moment: SecondMoment | None = field(default_factory=SecondMoment)


@dataclass(frozen=True)
class LastLayerLPL1(LastLayerLP):
    """Last-layer LP: the smallest change in L1 that makes the sample right (Sotoudeh & Thakur, PLDI 2021)."""

    knows: ClassVar[str] = "nothing"


@dataclass(frozen=True)
class LastLayerLPLinf(LastLayerLP):
    """Last-layer LP: the smallest change in Linf that makes the sample right (Sotoudeh & Thakur, PLDI 2021)."""

    knows: ClassVar[str] = "nothing"

    norm: str = "linf"


@dataclass(frozen=True)
class LastLayerLPL1Keep(LastLayerLP):
    """Last-layer LP: smallest change in L1 under which a keep-set keeps its classes (Sotoudeh & Thakur, PLDI 2021)."""

    knows: ClassVar[str] = "keep_set"

    keep: int = 1000
    slack_price: float | None = 0.3  # chosen on held-out errors outside the keep-set


@dataclass(frozen=True)
class LastLayerLPLinfKeep(LastLayerLP):
    """Last-layer LP: as `LastLayerLPL1Keep`, the smallest change in Linf (Sotoudeh & Thakur, PLDI 2021)."""

    knows: ClassVar[str] = "keep_set"

    norm: str = "linf"
    keep: int = 1000
    slack_price: float | None = 0.01  # chosen on held-out errors outside the keep-set


@dataclass(frozen=True)
class LastLayerWeightStatistic(LastLayerWeight):
    """One weight: of the right class, the one whose change does least harm to D by its Fisher diagonal."""

    knows: ClassVar[str] = "statistic"

    choose: str = "least_harm"
    estimator: Estimator | None = field(
        default_factory=lambda: TrueFisher(temperature=4.0)  # chosen of 1, 4 and 20 on held-out errors
    )


METHODS: dict[str, type[NamedMethod]] = {
    "ewc": EWC,
    "l2_sp": L2SP,
    "kl_retrain": KLRetrain,
    "rehearsal": Rehearsal,
    "lora": LoRA,
    "rank_one": RankOne,
    "rank_one_statistic": RankOneStatistic,
    "output_bias": OutputBias,
    "last_layer_weight": LastLayerWeight,
    "last_layer_weight_statistic": LastLayerWeightStatistic,
    "last_layer_lp_l1": LastLayerLPL1,
    "last_layer_lp_l1_keep": LastLayerLPL1Keep,
    "last_layer_lp_linf": LastLayerLPLinf,
    "last_layer_lp_linf_keep": LastLayerLPLinfKeep,
    "fault_sneaking": FaultSneaking,
}
