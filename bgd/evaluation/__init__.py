"""What a network says of many images before and after a patch: loss and class of each."""

from bgd.evaluation.full import Evaluation, Evaluator, FullEvaluator
from bgd.evaluation.incremental import IncrementalEvaluator
from bgd.evaluation.margins import MarginEvaluation

__all__ = ["Evaluation", "Evaluator", "FullEvaluator", "IncrementalEvaluator", "MarginEvaluation"]
