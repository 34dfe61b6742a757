"""Finding the tensor of a patch in a file by value, and saying what is nearest where none is it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from bgd.deployed.file import TensorFile, equal
from bgd.errors import nearest
from bgd.patch import Part, PatchError
from bgd.patch.model import PREFIXES, Side
from bgd.patch.parts import bits, kind, sha256

LISTED = 3  # names in a message
OTHERS = "another model, or BatchNorm was folded in at export: correct the model that the file holds"


@dataclass(frozen=True, eq=False)
class Fit:
    """A tensor of a file that may be that of a part of a patch.

    Attributes:
        name: Its name in the file.
        part: The change, in the file's name and shape.
        transposed: Whether the shape is the transposed one.
        tensor: The tensor.
    """

    name: str
    part: Part
    transposed: bool
    tensor: torch.Tensor

    def wrong(self, side: Side) -> list[int]:
        """Which of the values are not the part's old or new ones."""
        values = self.tensor.reshape(-1)[self.part.indices]
        return (bits(values) != bits(getattr(self.part, side))).nonzero().flatten().tolist()

    def distance(self, side: Side) -> tuple[int, float]:
        """How many values are not the part's, and the L1 distance between all of them: to choose the nearest by."""
        values, part = self.tensor.reshape(-1)[self.part.indices], self.part
        apart = (values.double() - getattr(part, side).double()).abs().sum()
        return len(self.wrong(side)), float(apart)

    def before(self, side: Side) -> torch.Tensor:
        """The tensor before the change, where it holds the values of a side."""
        if side == "old":
            return self.tensor
        before = self.tensor.clone(memory_format=torch.contiguous_format)
        before.view(-1)[self.part.indices] = self.part.old
        return before

    def whole(self, part: Part, side: Side) -> bool:
        """Whether the whole tensor, before the change, has the SHA-256 of the patch's, or there is none."""
        if not part.sha256:
            return True
        before = self.before(side)
        return sha256(before.T if self.transposed else before) == part.sha256

    def differs(self, part: Part, side: Side) -> str:
        """In words, what tells the tensor from that of the patch."""
        wrong = self.wrong(side)
        if not wrong:
            return f"{self} holds the values at its places and others elsewhere, by SHA-256"
        held = self.tensor.reshape(-1)[self.part.indices[wrong[0]]].item()
        verb = "starts from" if side == "old" else "leads to"
        return (
            f"in {self} {len(wrong):,} of {len(part.indices):,} values differ, the first at "
            f"{self.part.place(wrong[0])}: the file holds {held}, the patch {verb} "
            f"{getattr(self.part, side)[wrong[0]].item()}"
        )

    def __str__(self) -> str:
        return f"{self.name} (transposed)" if self.transposed else self.name


def fits(part: Part, file: TensorFile, side: Side, strict: bool) -> list[Fit]:
    """Return the tensor of a file that is that of a part, and after it the equal copies of it.

    Raises:
        PatchError: None is, or several are that differ.
    """
    shaped = [fit for name in file.names for fit in _shaped(part, name, file.tensor(name))]
    found = [fit for fit in shaped if not fit.wrong(side) and (not strict or fit.whole(part, side))]
    if not strict and len(found) > 1:
        found = [fit for fit in found if fit.whole(part, side)] or found
    named = [fit for fit in found if fit.name == part.name] or [
        fit for fit in found if _same(part.name, fit.name)
    ]
    named = [fit for fit in named if not fit.transposed] or named
    candidates = _untied(named or found, file)
    if not candidates:
        raise PatchError(_missing(part, file, shaped, side))
    first, *rest = candidates
    copies = [fit for fit in _untied(found, file) if fit is not first and _copy(first, fit)]
    strangers = [fit for fit in rest if fit not in copies]
    if strangers:
        names = ", ".join(map(str, candidates[:LISTED]))
        raise PatchError(
            f"{part.name} may be any of {len(candidates):,} tensors of {file.path}, {names}: they hold its values. A "
            "patch that was saved with its base knows the whole tensor"
        )
    return [first, *copies]


def _shaped(part: Part, name: str, tensor: torch.Tensor) -> Iterator[Fit]:
    """Give the ways in which a tensor may be that of a part, by type and shape."""
    if tensor.dtype != part.old.dtype:
        return
    if tuple(tensor.shape) == part.shape:
        yield Fit(name, _moved(part, name, part.shape, part.indices), False, tensor)
    if len(part.shape) == 2 and tuple(tensor.shape) == part.shape[::-1]:
        rows, columns = part.shape
        indices = part.indices % columns * rows + part.indices // columns
        yield Fit(name, _moved(part, name, (columns, rows), indices), True, tensor)


def _moved(part: Part, name: str, shape: tuple[int, ...], indices: torch.Tensor) -> Part:
    order = indices.argsort()
    return Part(name, shape, indices[order], part.old[order], part.new[order])


def _untied(fits: Sequence[Fit], file: TensorFile) -> list[Fit]:
    """Return the first of those that are tied in the file."""
    kept: list[Fit] = []
    for fit in fits:
        if not any(fit.name in file.tied(each.name) and fit.transposed == each.transposed for each in kept):
            kept.append(fit)
    return kept


def _copy(one: Fit, other: Fit) -> bool:
    """Whether two tensors are copies of one: equal as a whole, and not the same number all over."""
    first = one.tensor.T if one.transposed else one.tensor
    second = other.tensor.T if other.transposed else other.tensor
    several = one.tensor.numel() > 1 and not bool((one.tensor == one.tensor.reshape(-1)[0]).all())
    return several and one.name != other.name and equal(first, second)


def _same(own: str, name: str) -> bool:
    """Whether a name is a patch's behind other prefixes: of wrappers, or of what holds the state dict."""
    bare = own
    while prefix := next((each for each in PREFIXES if bare.startswith(each)), ""):
        bare = bare.removeprefix(prefix)
    return name == bare or name.endswith(f".{bare}")


def _missing(part: Part, file: TensorFile, shaped: Sequence[Fit], side: Side) -> str:
    """In words, that no tensor of a file is that of a part, and what is nearest to it."""
    begin = f"{part.name} is not in {file.path} by value"
    for name, why in file.unfit.items():
        if name == part.name or _same(part.name, name):
            return f"{begin}: {name} {why}"
    own = [name for name in file.names if name == part.name or _same(part.name, name)]
    same = [fit for fit in shaped if fit.name in own]
    if same:
        return f"{begin}: {same[0].differs(part, side)} ({OTHERS})"
    if own:
        return f"{begin}: {_unlike(part, own[0], file.tensor(own[0]))}"
    if file.unfit:
        name, why = next(iter(file.unfit.items()))
        return f"{begin}: {name} {why}"
    if shaped:
        nearest_one = min(shaped, key=lambda fit: fit.distance(side))
        return f"{begin}. Nearest of its shape: {nearest_one.differs(part, side)} ({OTHERS})"
    return f"{begin}, and no tensor has its shape {part.shape}: {nearest(part.name, file.names)}"


def _unlike(part: Part, name: str, tensor: torch.Tensor) -> str:
    """In words, why a tensor of the part's name cannot be the part's."""
    if tensor.dtype != part.old.dtype:
        there, here = kind(tensor.dtype), kind(part.old.dtype)
        survives = f" (where=({there!r},) in the goal checks that the correction survives)"
        return (
            f"{name} is {there} in the file, {here} in the patch, so the values differ: correct the model in {there}, "
            f"or write the patch into the {here} file and convert it again{'' if there == 'float64' else survives}"
        )
    return f"{name} has the shape {tuple(tensor.shape)} in the file, {part.shape} in the patch"
