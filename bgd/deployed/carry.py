"""A patch carried into a file by value: a name is not an identity.

Exporters fold, rename and transpose tensors, and files of one model hold other values under equal names. So a tensor
of a patch is the tensor of the file that holds its values, under its own name or another, as it is or transposed.

Shared tensors: a patch says nothing of where else its model uses a tensor. Names that torch itself ties in a file are
one tensor in the model too, so they change together. Everything else that would change with it (the other operations
that use an ONNX initializer, as exporters give equal tensors one initializer) or would have to (an equal copy under
another name, as of a tied weight written twice) is refused and named, until the caller says that the model shares it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

from bgd.deployed.file import TensorFile
from bgd.deployed.fit import LISTED, Fit, fits
from bgd.deployed.tensors import open_tensors
from bgd.patch import Part, Patch, PatchError, Verdict
from bgd.patch.model import STATES, Side
from bgd.patch.parts import sha256

HAS: dict[Side, str] = {"old": "does not have the patch in it", "new": "has the patch in it already"}


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
        PatchError: A tensor of the patch is not in the file, is there several times, or is shared there; or all of them
            are, with the values of the other side.
    """
    try:
        return _carried(patch, file, side, strict, shared)
    except PatchError as error:
        other: Side = "new" if side == "old" else "old"
        if not _holds(patch, file, other):
            raise
        raise PatchError(f"{file.path} {HAS[other]}") from error


def _carried(patch: Patch, file: TensorFile, side: Side, strict: bool, shared: bool) -> Carried:
    """Find the tensors of a patch in a file, where they hold the values of a side."""
    parts = patch.parts()
    if not parts:
        raise PatchError("the patch changes nothing")
    found = {part.name: fits(part, file, side, strict) for part in parts}
    claimed = {first.name for first, *_ in found.values()}
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
        {name: (first.name, first.transposed) for name, (first, *_) in found.items()},
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
        strict: See `carried`. A tensor is not compared as a whole where a patch is taken back: others may be on top.
        shared: See `carried`.
        overwrite: Replace a file that is there, never the source.

    Raises:
        PatchError: The patch does not fit the file.
        FormatError: The file cannot be read or changed.
        FileExistsError: There is a file at `out`.
    """
    file = open_tensors(source)
    found = carried(patch, file, "new" if revert else "old", strict and not revert, shared)
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
    file, reasons = open_tensors(path), {}
    for side, state in STATES.items():
        try:
            return Verdict(state, renamed=_carried(patch, file, side, True, True).renamed)
        except PatchError as error:
            reasons[side] = str(error)
    return Verdict("neither", reasons["new" if _holds(patch, file, "new") else "old"])


def _holds(patch: Patch, file: TensorFile, side: Side) -> bool:
    """Whether a file has a patch's old or new values at its places, whatever lies beside them."""
    try:
        return bool(_carried(patch, file, side, strict=False, shared=True))
    except PatchError:
        return False


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
