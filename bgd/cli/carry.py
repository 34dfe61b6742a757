"""A patch in a file of weights: compared with it, and written into a copy."""

import os
import pickle
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from bgd.errors import ConfigError, first_line
from bgd.patch import Patch, Verdict


@dataclass(frozen=True)
class Carried:
    """Where a file has the tensors of a patch: the patch's name -> the file's, and whether it is transposed there."""

    names: Mapping[str, tuple[str, bool]]


class _State:
    """A state dict where a patch wants a model."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        self._state = state

    def named_parameters(self, remove_duplicate: bool = True) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the tensors by name."""
        yield from self._state.items()


def verify_file(patch: Patch, path: Path) -> Verdict:
    """Say whether a file is the base of a patch, the patched one or neither."""
    return patch.verify(cast(nn.Module, _State(_opened(path))))


def apply_to_file(patch: Patch, source: Path, out: Path, revert: bool = False) -> Carried:
    """Write a file with a patch in it, or taken back: beside its place, then renamed."""
    state = _opened(source)
    model = cast(nn.Module, _State(state))
    renamed = patch.revert_(model) if revert else patch.apply_(model)
    partial = out.with_name(f"{out.name}.{uuid.uuid4().hex}.partial")
    try:
        torch.save(state, partial)
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return Carried({name: (renamed.get(name, name), False) for name in patch.tensors})


def _opened(path: Path) -> Any:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{path} cannot be read as a state dict: {first_line(error)}") from error
    if not isinstance(state, Mapping):
        raise ConfigError(f"{path} holds a {type(state).__name__}, and no state dict")
    return state
