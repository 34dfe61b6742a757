"""Correct a classifier's mistakes by changing very few of its parameters.

    correction = bgd.correct(model, x, y)          # the model stays as it is
    correction.patch.save("fix.safetensors")
    bgd.Patch.load("fix.safetensors").apply_(model)

Budgeted Gradient Descent (Banerjee, MSc thesis, University of Alberta, 2024) and the methods beyond it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bgd.corrector import Corrector, correct
    from bgd.errors import ConfigError
    from bgd.goals import Goal
    from bgd.knowledge import Knowledge
    from bgd.methods.catalogue import METHODS
    from bgd.methods.trial import Correction
    from bgd.pareto import frontier
    from bgd.patch import Patch, PatchError
    from bgd.side_effects import Effects, Evaluator, effects
    from bgd.stack import Stack

__version__ = "0.1.0"

_WHERE = {  # what is imported when it is first asked for: importing this package takes no time
    "ConfigError": "bgd.errors",
    "Correction": "bgd.methods.trial",
    "Corrector": "bgd.corrector",
    "Effects": "bgd.side_effects",
    "Evaluator": "bgd.side_effects",
    "Goal": "bgd.goals",
    "Knowledge": "bgd.knowledge",
    "METHODS": "bgd.methods.catalogue",
    "Patch": "bgd.patch",
    "PatchError": "bgd.patch",
    "Stack": "bgd.stack",
    "correct": "bgd.corrector",
    "effects": "bgd.side_effects",
    "frontier": "bgd.pareto",
}
__all__ = [
    "METHODS",
    "ConfigError",
    "Correction",
    "Corrector",
    "Effects",
    "Evaluator",
    "Goal",
    "Knowledge",
    "Patch",
    "PatchError",
    "Stack",
    "correct",
    "effects",
    "frontier",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'bgd' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
