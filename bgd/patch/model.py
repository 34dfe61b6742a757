"""A patch in a model: the parameters it means, whether they hold its values, and writing them.

Everything is checked before anything is written, so a model holds all of a patch or nothing of it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from bgd.errors import nearest
from bgd.patch.parts import Part, PatchError, bits, kind, sha256, unravelled

PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
)  # of DataParallel, of torch.compile, of a model around the network
Side = Literal["old", "new"]
State = Literal["base", "patched", "neither"]
STATES: dict[Side, State] = {"old": "base", "new": "patched"}


@dataclass(frozen=True)
class Verdict:
    """How a model stands to a patch.

    Attributes:
        state: The model is the one that the patch starts from ("base"), the one that it leads to ("patched"), or
            "neither".
        reason: Why it is neither, in a sentence; empty otherwise.
        renamed: Tensors that the model has under another name: the patch's name -> the model's.
    """

    state: State
    reason: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Site:
    """A tensor of a model that a patch changes.

    Attributes:
        part: The change of it.
        name: Its name in the model.
        parameter: The tensor.
    """

    part: Part
    name: str
    parameter: torch.Tensor

    def values(self) -> torch.Tensor:
        """Values of the model at the patch's indices (k,)."""
        return self._open()[self._places()]

    def write(self, side: Side) -> None:
        """Write the patch's values into the model, whatever mode torch is in."""
        with torch.inference_mode(
            self.parameter.is_inference()
        ):  # what was made in it may be written in it alone
            self._open()[self._places()] = getattr(self.part, side).to(self.parameter.device)

    def difference(self, side: Side) -> str:
        """In words, how the model's values differ from the patch's old or new ones; empty where they do not."""
        values, expected = self.values(), getattr(self.part, side).to(self.parameter.device)
        wrong = (bits(values) != bits(expected)).nonzero().flatten().tolist()
        if not wrong:
            return ""
        verb = "starts from" if side == "old" else "leads to"
        return (
            f"{self}: {len(wrong):,} of {len(values):,} values differ, the first at {self.part.place(wrong[0])}: the "
            f"model holds {values[wrong[0]].item()}, the patch {verb} {expected[wrong[0]].item()}"
        )

    def strange(self, side: Side) -> str:
        """In words, that the tensor differs beside the patch's indices from the network the patch was made for."""
        if not self.part.sha256:
            return ""
        tensor = self.parameter.detach()
        if side == "new":
            tensor = tensor.clone()
            Site(self.part, self.name, tensor).write("old")
        if sha256(tensor) == self.part.sha256:
            return ""
        return (
            f"{self}: the patch's own {len(self.part.indices):,} places hold its {side} values and others differ from "
            "the network that it was made for, by SHA-256: strict=False compares the patch's own alone"
        )

    def unfit(self) -> str:
        """In words, why the tensor cannot hold the patch's values; empty where it can."""
        tensor, dtype = self.parameter, self.part.new.dtype
        if is_lazy(tensor):
            return f"{self} has no shape yet: run the model once before"
        if tuple(tensor.shape) != self.part.shape:
            return f"{self} has the shape {tuple(tensor.shape)} in the model, {self.part.shape} in the patch"
        if tensor.dtype != dtype:
            return f"{self} is {kind(tensor.dtype)} in the model, {kind(dtype)} in the patch"
        if type(tensor.detach()) is not torch.Tensor or tensor.layout != torch.strided or tensor.is_meta:
            return f"{self} is no plain dense tensor in the model: its values cannot be compared and written"
        if any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True)):
            return f"{self} has several places in one piece of memory: make it contiguous() before"
        return ""

    def _open(self) -> torch.Tensor:
        """The model's memory, outside the graph of gradients."""
        tensor = self.parameter.detach()
        return tensor if tensor.ndim else tensor.view(1)

    def _places(self) -> tuple[torch.Tensor, ...]:
        return unravelled(self.part.indices.to(self.parameter.device), self.part.shape)

    def __str__(self) -> str:
        own = self.part.name
        return own if own == self.name else f"{own} ({self.name} in the model)"


def find(model: nn.Module, parts: Sequence[Part]) -> list[Site]:
    """Return where a model has the tensors that a patch changes.

    Raises:
        PatchError: A tensor is not there or cannot hold the patch's values, or two are one with different changes.
        TypeError: It is no model.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"the model is a {type(model).__name__}, and an nn.Module is wanted; a flat vector has apply and revert, "
            "without an underscore"
        )
    parameters = dict(model.named_parameters(remove_duplicate=False))
    found = names([part.name for part in parts], parameters)
    sites = [Site(part, name, parameters[name]) for part, name in zip(parts, found, strict=True)]
    _refuse(site.unfit() for site in sites)
    tied: dict[object, Site] = {}
    for site in sites:
        memory = site.parameter.device, site.parameter.data_ptr(), site.parameter.stride()
        twin = tied.setdefault(memory, site)
        if not twin.part.changes_as(site.part):
            raise PatchError(
                f"{twin} and {site} are one tensor in the model, and the patch changes them differently"
            )
    return sites


def check(sites: Sequence[Site], side: Side, strict: bool) -> None:
    """Compare a model with a patch's old or new values; if strict, its tensors as a whole too.

    Raises:
        PatchError: They differ.
    """
    _refuse(site.difference(side) for site in sites)
    if strict:
        _refuse(site.strange(side) for site in sites)


def write(sites: Sequence[Site], side: Side, strict: bool) -> dict[str, str]:
    """Write the old or the new values where the model holds the others; return `renamed`.

    Raises:
        PatchError: It holds other values. Nothing is written.
    """
    check(sites, "old" if side == "new" else "new", strict)
    for site in sites:
        site.write(side)
    torch.clear_autocast_cache()  # a block of autocast would go on with its casts of the old values
    return renamed(sites)


def verdict(model: nn.Module, parts: Sequence[Part], strict: bool) -> Verdict:
    """Say how a model stands to a patch, see `Verdict`."""
    try:
        sites = find(model, parts)
    except PatchError as error:
        return Verdict("neither", str(error))
    different = {side: _sentence(site.difference(side) for site in sites) for side in STATES}
    for side, state in STATES.items():
        if not different[side]:
            strange = _sentence(site.strange(side) for site in sites) if strict else ""
            return Verdict("neither" if strange else state, strange, renamed(sites))
    return Verdict("neither", "; ".join(different.values()), renamed(sites))


def renamed(sites: Iterable[Site]) -> dict[str, str]:
    """Return the patch's name -> the model's, of the tensors where they differ."""
    return {site.part.name: site.name for site in sites if site.part.name != site.name}


def _refuse(reasons: Iterable[str]) -> None:
    if reason := _sentence(reasons):
        raise PatchError(reason)


def _sentence(reasons: Iterable[str]) -> str:
    """Return the first reason that says something, and how many more do."""
    found = [reason for reason in reasons if reason]
    more = f" (and {len(found) - 1:,} more of its tensors are not as they have to be)" if found[1:] else ""
    return found[0] + more if found else ""


def names(wanted: Sequence[str], present: Collection[str]) -> list[str]:
    """Return the model's name for each of the patch's: the same, or behind one other prefix for all of them.

    Raises:
        PatchError: No prefix leads to all of them, or two do.
    """
    own = set.intersection(*map(_prefixes, wanted)) if wanted else {""}
    fits: dict[tuple[str, ...], int] = {}
    for off, on in product(own, set().union({""}, *map(_prefixes, present))):
        there = tuple(on + name.removeprefix(off) for name in wanted)
        if all(name in present for name in there):
            fits[there] = min(off.count(".") + on.count("."), fits.get(there, len(off) + len(on)))
    least = [there for there, steps in fits.items() if steps == min(fits.values())]
    if not least:
        name = next(name for name in wanted if name not in present)
        raise PatchError(f"the model has no parameter {name!r}: {nearest(name, present)}")
    if len(least) > 1:
        both = " or ".join(sorted(there[0] for there in least))
        raise PatchError(f"{wanted[0]} may be {both} in the model: rename it in one of them")
    return list(least[0])


def _prefixes(name: str) -> set[str]:
    """Every run of `PREFIXES` that a name begins with, none included."""
    found, run = {""}, ""
    while prefix := next((each for each in PREFIXES if name.startswith(run + each)), ""):
        run += prefix
        found.add(run)
    return found
