"""A model that a factory makes, with its weights, as commands work on it."""

import copy
import importlib
import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bgd.errors import ConfigError, first_line, nearest
from bgd.flat import private_copy
from bgd.outputs import logits_in
from bgd.patch import Patch

BATCH = 100  # inputs at a time


class Deployed:
    """A model in torch.

    Attributes:
        network: Gives logits; in eval mode.
        source: The file of its weights; None for those that the factory gives.
    """

    def __init__(self, network: nn.Module, source: Path | None = None) -> None:
        self.network, self.source = network.eval(), source

    def inputs(self, raw: torch.Tensor) -> torch.Tensor:
        """Return what the network takes for inputs (N, ...): themselves."""
        return raw

    @torch.no_grad()
    def outputs(self, raw: torch.Tensor) -> torch.Tensor:
        """Return what the model itself says of inputs (N, ...): scores (N, C)."""
        return torch.cat([logits_in(self.network(some.clone())) for some in torch.split(raw, BATCH)])

    def stored(self, patch: Patch) -> Patch:
        """Return a patch of the network as it is saved: with the hashes of the tensors that it changes."""
        return patch.hashed(self.network)

    def loaded(self, patch: Patch) -> Patch:
        """Return a patch of the model's file as one of the network: itself."""
        return patch

    def patched(self, patch: Patch) -> "Deployed":
        """Return the same model with a patch in it."""
        network = private_copy(self.network)
        patch.apply_(network)
        return Deployed(network, self.source)


def load(text: str, weights: str | None = None) -> Deployed:
    """Load a model.

    Args:
        text: `package.module:factory`.
        weights: A state dict, for the factory's model.

    Raises:
        ConfigError: There is no such factory, it gives no model, or the weights are another model's.
        OSError: The weights cannot be read.
    """
    if not re.fullmatch(r"[\w.]+:[\w.]+", text):
        raise ConfigError(
            f"model={text!r}: package.module:factory is wanted, or a file's weights with --factory"
        )
    module, _, name = text.partition(":")
    made = _made(text, module, name)
    if weights is None:
        return Deployed(made)
    _fill(made, _state(weights), weights)
    return Deployed(made, Path(weights))


def _made(text: str, module: str, name: str) -> nn.Module:
    """Call a factory."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"model={text!r}: {error}, neither installed nor in {here}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"model={text!r}: {module} has no {part!r}; {nearest(part, public(found))}")
        found = getattr(found, part)
    try:
        made = found if isinstance(found, nn.Module) else found()
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(f"model={text!r}: it raised {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"model={text!r}: it gives a {type(made).__name__}, and no nn.Module")
    return copy.deepcopy(made) if made is found else made


def public(found: Any) -> list[str]:
    """Return the names that a module shows."""
    return [name for name in dir(found) if not name.startswith("_")]


def _state(weights: str) -> Mapping[str, Any]:
    try:
        state: Any = torch.load(weights, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{weights} cannot be read as a state dict: {first_line(error)}") from error
    if not isinstance(state, Mapping):
        raise ConfigError(f"{weights} holds a {type(state).__name__}, and no state dict")
    return state


def _fill(network: nn.Module, state: Mapping[str, Any], weights: str) -> None:
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise ConfigError(f"{weights} holds the weights of another model: {lines}") from error
