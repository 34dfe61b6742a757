"""A patch carried into a file by value: a name is not an identity.

Exporters fold, rename and transpose tensors, and files of one model hold other values under equal names. So a tensor
of a patch is the tensor of the file that holds its values, under its own name or another, as it is or transposed.

Shared tensors: a patch says nothing of where else its model uses a tensor. Names that torch itself ties in a file are
one tensor in the model too, so they change together. Everything else that would change with it (the other operations
that use an ONNX initializer, as exporters give equal tensors one initializer) or would have to (an equal copy under
another name, as of a tied weight written twice) is refused and named, until the caller says that the model shares it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

import torch

from bgd.deployed.tensors import TensorFile, equal, open_tensors
from bgd.errors import nearest
from bgd.patch import Part, Patch, PatchError, Verdict
from bgd.patch.model import PREFIXES, STATES, Side
from bgd.patch.parts import bits, kind, sha256

LISTED = 3  # names in a message
OTHERS = "another model, or BatchNorm was folded in at export: correct the model that the file holds"


@dataclass(frozen=True, eq=False)
class Carried:
    """A patch in a file.

    Attributes:
        patch: It, in the file's names and shapes.
        names: The patch's name -> the file's, and whether the tensor is transposed there.
        shared: The file's name -> what changes with it: names of tied tensors and of copies, operations that use it.
    """

    patch: Patch
    names: Mapping[str, tuple[str, bool]]
    shared: Mapping[str, tuple[str, ...]]

    @property
    def renamed(self) -> dict[str, str]:
        """The patch's name -> the file's, of the tensors where they differ."""
        return {own: name for own, (name, _) in self.names.items() if own != name}


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
        where = f"{self.name}{', transposed,' if self.transposed else ''}"
        if not wrong:
            return f"{where} holds the values at its places and others elsewhere, by SHA-256"
        held = self.tensor.reshape(-1)[self.part.indices[wrong[0]]].item()
        verb = "starts from" if side == "old" else "leads to"
        return (
            f"in {where} {len(wrong):,} of {len(part.indices):,} values differ, the first at "
            f"{self.part.place(wrong[0])}: the file holds {held}, the patch {verb} "
            f"{getattr(self.part, side)[wrong[0]].item()}"
        )


def carried(
    patch: Patch, file: TensorFile, side: Side = "old", strict: bool = True, shared: bool = False
) -> Carried:
    """Find the tensors of a patch in a file.

    Args:
        patch: The change.
        file: The model.
        side: Which values the file has to hold: those that the patch starts from or leads to.
        strict: Compare whole tensors where the patch knows their SHA-256, not the changed places alone. False takes
            patches of one base in turn.
        shared: Change a tensor together with everything that shares it in the file.

    Raises:
        PatchError: A tensor of the patch is not in the file, is there several times, or is shared there.
    """
    parts = patch.parts()
    if not parts:
        raise PatchError("the patch changes nothing")
    found = {part.name: _fits(part, file, side, strict and side == "old") for part in parts}
    claimed = {fits[0].name for fits in found.values()}
    moved: dict[str, Part] = {}
    sharing: dict[str, tuple[str, ...]] = {}
    for part in parts:
        first, *copies = found[part.name]
        others = [fit for fit in copies if fit.name not in claimed]
        also = (*(fit.name for fit in others), *file.users(first.name))
        if also and not shared:
            raise PatchError(_shared(part, first, also, bool(others)))
        ties = file.tied(first.name)
        if also or ties:
            sharing[first.name] = (*ties, *also)
        for fit in (first, *others):
            _claim(moved, fit, ties if fit is first else (), side)
    return Carried(
        Patch.of_parts(list(moved.values()), patch.metadata),
        {name: (fits[0].name, fits[0].transposed) for name, fits in found.items()},
        sharing,
    )


def apply_to_file(
    patch: Patch,
    source: str | PathLike[str],
    out: str | PathLike[str],
    revert: bool = False,
    *,
    strict: bool = True,
    shared: bool = False,
    overwrite: bool = False,
) -> Carried:
    """Write a model's file with a patch applied, or taken back: as a whole or not at all.

    Args:
        patch: The change.
        source: The file. It stays as it is.
        out: Where the new one goes. It appears when it was read again and holds what it should.
        revert: Write the old values where the file holds the new ones.
        strict: See `carried`.
        shared: See `carried`.
        overwrite: Replace a file that is there, never the source.

    Raises:
        PatchError: The patch does not fit the file.
        FormatError: The file cannot be read or changed.
        FileExistsError: There is a file at `out`.
    """
    file = open_tensors(source)
    found = carried(patch, file, "new" if revert else "old", strict, shared)
    parts = found.patch.parts()
    file.rewritten(
        out, {part.name: (part.indices, part.old if revert else part.new) for part in parts}, overwrite
    )
    return found


def verify_file(patch: Patch, path: str | PathLike[str]) -> Verdict:
    """Say whether a file is the base of a patch, the patched one or neither, and why.

    Raises:
        FormatError: The file cannot be read.
    """
    file, reasons = open_tensors(path), []
    for side, state in STATES.items():
        try:
            return Verdict(state, renamed=carried(patch, file, side, shared=True).renamed)
        except PatchError as error:
            reasons.append(str(error))
    return Verdict("neither", reasons[0])


def _fits(part: Part, file: TensorFile, side: Side, strict: bool) -> list[Fit]:
    """Return the tensor of a file that is that of a part, and after it the equal copies of it.

    Raises:
        PatchError: None is, or several are that differ.
    """
    shaped = [fit for name in file.names for fit in _shaped(part, name, file.tensor(name))]
    fits = [fit for fit in shaped if not fit.wrong(side) and (not strict or fit.whole(part, side))]
    if not strict and len(fits) > 1:
        fits = [fit for fit in fits if fit.whole(part, side)] or fits
    named = [fit for fit in fits if fit.name == part.name] or [
        fit for fit in fits if _same(part.name, fit.name)
    ]
    candidates = _untied(named or fits, file)
    if not candidates:
        raise PatchError(_missing(part, file, shaped, side))
    first, *rest = candidates
    copies = [fit for fit in _untied(fits, file) if fit is not first and _copy(first, fit)]
    strangers = [fit for fit in rest if fit not in copies]
    if strangers:
        names = ", ".join(fit.name for fit in candidates[:LISTED])
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


def _claim(moved: dict[str, Part], fit: Fit, ties: tuple[str, ...], side: Side) -> None:
    """Take a tensor of the file for a part of the patch; two parts may take one for the same change."""
    for name in (fit.name, *ties):
        if name in moved and not moved[name].changes_as(fit.part):
            raise PatchError(f"{fit.name} is one tensor in the file, and the patch changes it in two ways")
    if not any(name in moved for name in ties):
        digest = sha256(fit.before(side))
        moved[fit.name] = Part(fit.name, fit.part.shape, fit.part.indices, fit.part.old, fit.part.new, digest)


def _shared(part: Part, fit: Fit, also: tuple[str, ...], copies: bool) -> str:
    names = f"{', '.join(also[:LISTED])}{f' and {len(also) - LISTED} more' if also[LISTED:] else ''}"
    how = (
        f"{fit.name} has equal copies or other users in the file"
        if copies
        else f"{fit.name} is used by several"
    )
    return (
        f"{part.name}: {how}, {names}. If the patch's model uses that one tensor in all of them, shared=True changes "
        "them together; otherwise the file would not be the patched model"
    )


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
        return (
            f"{name} is {there} in the file, {here} in the patch, so the values differ: correct the model in {there}, "
            f"or write the patch into the {here} file and convert it again (where=({there!r},) in the goal checks that "
            "the correction survives)"
        )
    return f"{name} has the shape {tuple(tensor.shape)} in the file, {part.shape} in the patch"
