"""Ways to correct a sample: `METHODS` and `method_of` know them by name, and each is a class."""

from bgd.methods.catalogue import (
    METHODS as METHODS,
    method_of as method_of,
)
from bgd.methods.catalogue.least_harm import (
    LeastChange as LeastChange,
    LeastHarmData as LeastHarmData,
    LeastHarmFisher as LeastHarmFisher,
    LeastHarmKFAC as LeastHarmKFAC,
    LeastHarmRow as LeastHarmRow,
    LeastHarmRowFisher as LeastHarmRowFisher,
    LeastHarmRowKFAC as LeastHarmRowKFAC,
    LeastHarmRowKFACRefreshed as LeastHarmRowKFACRefreshed,
    LeastHarmRowProtected as LeastHarmRowProtected,
)
from bgd.methods.catalogue.peers import (
    EWC as EWC,
    L2SP as L2SP,
    KLRetrain as KLRetrain,
    LastLayerLPL1 as LastLayerLPL1,
    LastLayerLPL1Keep as LastLayerLPL1Keep,
    LastLayerLPLinf as LastLayerLPLinf,
    LastLayerLPLinfKeep as LastLayerLPLinfKeep,
    LastLayerWeightStatistic as LastLayerWeightStatistic,
    RankOneStatistic as RankOneStatistic,
)
from bgd.methods.catalogue.smallest import (
    BGDCSmallest as BGDCSmallest,
    BGDIISmallest as BGDIISmallest,
    BGDISmallest as BGDISmallest,
    BGDNormSmallest as BGDNormSmallest,
    EWCSmallest as EWCSmallest,
    FineTuneSmallest as FineTuneSmallest,
    KLRetrainSmallest as KLRetrainSmallest,
    L1Smallest as L1Smallest,
    L2SPSmallest as L2SPSmallest,
    LoRASmallest as LoRASmallest,
    RandomSmallest as RandomSmallest,
    RetrainSmallest as RetrainSmallest,
    TopKSmallest as TopKSmallest,
)
from bgd.methods.catalogue.thesis import (
    BGDC as BGDC,
    BGDI as BGDI,
    BGDII as BGDII,
    L1 as L1,
    BGDActivation as BGDActivation,
    BGDHarm as BGDHarm,
    BGDNorm as BGDNorm,
    Idealized as Idealized,
    Random as Random,
    Retrain as Retrain,
)
from bgd.methods.descent import FineTune as FineTune
from bgd.methods.hard_threshold import HardThreshold as HardThreshold
from bgd.methods.last_layer.fault_sneaking import FaultSneaking as FaultSneaking
from bgd.methods.last_layer.output_bias import OutputBias as OutputBias
from bgd.methods.last_layer.weight import LastLayerWeight as LastLayerWeight
from bgd.methods.least_harm.search import LeastHarm as LeastHarm
from bgd.methods.lora import LoRA as LoRA
from bgd.methods.rank_one import RankOne as RankOne
from bgd.methods.rehearsal import Rehearsal as Rehearsal
from bgd.methods.top_k import TopK as TopK
