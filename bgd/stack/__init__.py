"""A stack of fixes of one model: add one, undo any, see which broke which, make one patch of all, keep it in a file."""

from bgd.stack.fix import Fix, Status, Step
from bgd.stack.stack import Stack

__all__ = ["Fix", "Stack", "Status", "Step"]
