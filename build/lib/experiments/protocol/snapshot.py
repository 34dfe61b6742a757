"""What going on with corrections in a row takes beyond the rows: the network, and what the method hands on."""

import io
import logging
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bgd.methods.base import Sample

log = logging.getLogger(__name__)

SAMPLE = "sample of the run"  # key under which a snapshot has the index of a sample that was handed on
PLAIN = (type(None), bool, int, float, str)


class StateError(ValueError):
    """What a method hands on is nothing that can be kept."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A network that corrections in a row have led to.

    Attributes:
        rows: After how many rows.
        flat: Its parameters (|W|,).
        changed: Mask (|W|,) of those that any correction has changed.
        carry: What the method handed on, as `pack` has it.
    """

    rows: int
    flat: torch.Tensor
    changed: torch.Tensor
    carry: Any

    def dump(self) -> bytes:
        """Return it as bytes."""
        content = io.BytesIO()
        torch.save({key: getattr(self, key) for key in ("flat", "changed", "carry")}, content)
        return content.getvalue()

    @classmethod
    def load(cls, rows: int, content: bytes) -> "Snapshot | None":
        """Return the snapshot that bytes are of; None, and a warning, where they are of none."""
        try:
            return cls(rows, **torch.load(io.BytesIO(content), weights_only=True))
        except (RuntimeError, TypeError, pickle.UnpicklingError) as error:
            log.warning("the snapshot after %d rows cannot be read (%s): it is left out", rows, error)
            return None


def pack(carry: Any) -> Any:
    """Return a method's state as numbers, text, tensors and collections of them, samples by their index.

    Raises:
        StateError: It is something else.
    """
    if isinstance(carry, PLAIN):
        return carry
    if isinstance(carry, torch.Tensor):
        return carry.detach().cpu()
    if isinstance(carry, Sample):
        return {SAMPLE: carry.index}
    if type(carry) is dict:
        return {key: pack(value) for key, value in carry.items()}
    if type(carry) in (list, tuple):
        return type(carry)(map(pack, carry))
    raise StateError(f"a {type(carry).__name__} cannot be kept")


def unpack(packed: Any, samples: Sequence[Sample], device: torch.device) -> Any:
    """Return the state that `pack` was given."""
    if isinstance(packed, torch.Tensor):
        return packed.to(device)
    if isinstance(packed, dict) and SAMPLE in packed:
        return next(sample for sample in samples if sample.index == packed[SAMPLE])
    if isinstance(packed, dict):
        return {key: unpack(value, samples, device) for key, value in packed.items()}
    if isinstance(packed, (list, tuple)):
        return type(packed)(unpack(value, samples, device) for value in packed)
    return packed
