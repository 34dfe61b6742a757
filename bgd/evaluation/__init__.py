"""What a network says of many images before and after a patch: loss and class of each."""

from bgd.evaluation.choice import fast_evaluator
from bgd.evaluation.full import Evaluation, Evaluator, ForkingEvaluator, FullEvaluator
from bgd.evaluation.incremental import IncrementalEvaluator
from bgd.evaluation.margins import MarginEvaluation
from bgd.evaluation.small import SmallEvaluator

__all__ = [
    "Evaluation",
    "Evaluator",
    "ForkingEvaluator",
    "FullEvaluator",
    "IncrementalEvaluator",
    "MarginEvaluation",
    "SmallEvaluator",
    "fast_evaluator",
]
