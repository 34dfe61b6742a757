"""A patch: an immutable change of some parameters, and its way into a model, into a file and onto other patches."""

from bgd.patch.change import Patch
from bgd.patch.merge import Conflict
from bgd.patch.model import Verdict
from bgd.patch.parts import Part, PatchError, bits

__all__ = ["Conflict", "Part", "Patch", "PatchError", "Verdict", "bits"]
