"""How a network does on D and on the test set."""

from bgd.evaluation.full import Evaluation, Evaluator, FullEvaluator, Images
from bgd.evaluation.incremental import IncrementalEvaluator

__all__ = ["Evaluation", "Evaluator", "FullEvaluator", "Images", "IncrementalEvaluator"]
