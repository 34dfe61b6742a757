"""The arithmetic of deployment: a network as it computes in service, to see whether a change holds there."""

from bgd.arithmetic.elsewhere import ARITHMETICS, Elsewhere, logits_in
from bgd.arithmetic.twin import UnavailableError

__all__ = ["ARITHMETICS", "Elsewhere", "UnavailableError", "logits_in"]
