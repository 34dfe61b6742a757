"""The smallest multiples by name: a method's change, shrunk to what still corrects the sample."""

from dataclasses import dataclass, field
from typing import ClassVar

from bgd.methods.base import Method, NamedMethod
from bgd.methods.catalogue.peers import EWC, L2SP, KLRetrain
from bgd.methods.catalogue.thesis import BGDC, BGDI, BGDII, L1, BGDNorm, Random, Retrain
from bgd.methods.descent import FineTune
from bgd.methods.lora import LoRA
from bgd.methods.smallest_step import SmallestStep
from bgd.methods.top_k import TopK


@dataclass(frozen=True)
class BGDISmallest(SmallestStep):
    """BGD-I with the smallest multiple of its change that still corrects the sample; not in the thesis."""

    knows: ClassVar[str] = "nothing"

    inner: Method = field(default_factory=BGDI)


@dataclass(frozen=True)
class BGDIISmallest(SmallestStep):
    """BGD-II with the smallest multiple of its change that still corrects the sample; not in the thesis."""

    knows: ClassVar[str] = "nothing"

    inner: Method = field(default_factory=BGDII)


@dataclass(frozen=True)
class BGDCSmallest(SmallestStep):
    """BGD-C, its statistic included, with the smallest multiple of its change that suffices; not in the thesis."""

    knows: ClassVar[str] = "statistic"

    inner: Method = field(default_factory=BGDC)


@dataclass(frozen=True)
class BGDNormSmallest(SmallestStep):
    """BGD-Norm with the smallest multiple of its change that still corrects the sample; not in the thesis."""

    knows: ClassVar[str] = "nothing"

    inner: Method = field(default_factory=BGDNorm)


@dataclass(frozen=True)
class RandomSmallest(SmallestStep):
    """Random with the smallest multiple of its change that still corrects the sample; not in the thesis."""

    knows: ClassVar[str] = "nothing"

    inner: Method = field(default_factory=Random)


@dataclass(frozen=True)
class TopKSmallest(SmallestStep):
    """Top-k with the smallest multiple of its change that still corrects the sample; not in the thesis."""

    knows: ClassVar[str] = "nothing"

    inner: Method = field(default_factory=TopK)


@dataclass(frozen=True)
class RetrainSmallest(SmallestStep):
    """Retrain with the smallest multiple of its change that still corrects the sample; not in the thesis."""

    knows: ClassVar[str] = "nothing"

    inner: Method = field(default_factory=Retrain)


@dataclass(frozen=True)
class FineTuneSmallest(SmallestStep):
    """Fine-tune with the smallest multiple of its change that still corrects the sample; not in the thesis."""

    knows: ClassVar[str] = "nothing"

    inner: Method = field(default_factory=FineTune)


@dataclass(frozen=True)
class L1Smallest(SmallestStep):
    """L1 with the smallest multiple of its change that still corrects the sample; not in the thesis."""

    knows: ClassVar[str] = "nothing"

    inner: Method = field(default_factory=L1)


@dataclass(frozen=True)
class L2SPSmallest(SmallestStep):
    """L2-SP with the smallest multiple of its change that still corrects the sample."""

    knows: ClassVar[str] = "nothing"

    inner: Method = field(default_factory=L2SP)


@dataclass(frozen=True)
class LoRASmallest(SmallestStep):
    """LoRA with the smallest multiple of its change, once merged, that still corrects the sample."""

    knows: ClassVar[str] = "nothing"

    inner: Method = field(default_factory=LoRA)


@dataclass(frozen=True)
class EWCSmallest(SmallestStep):
    """EWC, its statistic included, with the smallest multiple of its change that still corrects the sample."""

    knows: ClassVar[str] = "statistic"

    inner: Method = field(default_factory=EWC)


@dataclass(frozen=True)
class KLRetrainSmallest(SmallestStep):
    """KL-retrain, its keep-set included, with the smallest multiple of its change that still corrects the sample."""

    knows: ClassVar[str] = "keep_set"

    inner: Method = field(default_factory=KLRetrain)


METHODS: dict[str, type[NamedMethod]] = {
    "bgd_i_smallest": BGDISmallest,
    "bgd_ii_smallest": BGDIISmallest,
    "bgd_c_smallest": BGDCSmallest,
    "bgd_norm_smallest": BGDNormSmallest,
    "random_smallest": RandomSmallest,
    "top_k_smallest": TopKSmallest,
    "retrain_smallest": RetrainSmallest,
    "fine_tune_smallest": FineTuneSmallest,
    "l1_smallest": L1Smallest,
    "l2_sp_smallest": L2SPSmallest,
    "lora_smallest": LoRASmallest,
    "ewc_smallest": EWCSmallest,
    "kl_retrain_smallest": KLRetrainSmallest,
}
