"""A patch as one file: a safetensors container with three rows of numbers for each changed tensor.

docs/patch-format.md describes it for readers in other languages. Sign such a file with the package `model-signing`.
"""

import errno
import hashlib
import os
import re
import stat
import uuid
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from os import PathLike
from pathlib import Path

import torch

from bgd.patch.container import brief, packed, read_header, read_rows
from bgd.patch.parts import Part, PatchError, kind

FORMAT, VERSION = "bgd-patch", "1"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
ROWS = ("indices", "old", "values")
UNKNOWN = "0" * 64  # what the checksum is taken with in its own place
DIMENSIONS = 64  # the most that torch has
LIMIT = 1 << 63  # positions are int64


def write(
    path: str | PathLike[str], parts: Sequence[Part], metadata: Mapping[str, str], overwrite: bool
) -> None:
    """Write a patch into a file.

    Raises:
        PatchError: The patch cannot be written.
        FileExistsError: There is a file, and `overwrite` is False.
    """
    try:
        content = encoded(parts, metadata)
    except PatchError as error:
        raise PatchError(f"{os.fspath(path)} cannot be written: {error}") from None
    put(path, content, overwrite)


def put(path: str | PathLike[str], content: bytes | bytearray, overwrite: bool) -> None:
    """Write bytes into a file: beside its place, then renamed.

    Raises:
        FileExistsError: There is a file, and `overwrite` is False.
        FileNotFoundError: There is no folder for it.
    """
    path = Path(path)
    if not overwrite and path.exists():
        raise FileExistsError(f"{path} is there already: overwrite=True replaces it")
    check_folder(path)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_folder(path: Path) -> None:
    """Refuse a file's place whose folder is not there.

    Raises:
        FileNotFoundError: It names the folder.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path.parent))


def read(path: str | PathLike[str]) -> tuple[list[Part], dict[str, str]]:
    """Return the parts of a patch, by name, and the texts that its maker gave.

    Raises:
        PatchError: The file is not whole, or no patch.
        OSError: It cannot be read.
    """
    try:
        return decoded(get(path))
    except PatchError as error:
        raise PatchError(f"{os.fspath(path)} cannot be read as a patch: {error}") from error.__cause__


def get(path: str | PathLike[str]) -> bytes:
    """Read the bytes of a file.

    Raises:
        PatchError: It is no plain file: a device never ends.
        OSError: It cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise PatchError("it is no plain file")
    return Path(path).read_bytes()


def encoded(parts: Sequence[Part], metadata: Mapping[str, str]) -> bytearray:
    """Return the bytes of a file.

    Raises:
        PatchError: The parts are no patch, or the metadata no text.
    """
    _check_all(parts)
    rows: dict[str, torch.Tensor] = {}
    own = {"format": FORMAT, "version": VERSION, "checksum": UNKNOWN}
    for part in parts:
        values = part.indices.to(_index_type(part.shape)), part.old, part.new
        rows |= {f"{part.name}.{row}": each for row, each in zip(ROWS, values, strict=True)}
        own[f"{part.name}.shape"] = _shape_text(part.shape)
        if part.sha256:
            own[f"{part.name}.sha256"] = part.sha256
    reserved = _own_keys(part.name for part in parts)
    for key, text in metadata.items():
        if key in reserved:
            raise PatchError(f"the metadata has {key!r}, a key of the format")
        if type(key) is not str or type(text) is not str or not _is_text(key + text):
            raise PatchError(f"the metadata has {key!r}: {text!r}, and text alone can be written")
    content = packed(rows, own | dict(metadata))
    at = content.index(UNKNOWN.encode())
    content[at : at + len(UNKNOWN)] = hashlib.sha256(content).hexdigest().encode()
    return content


def decoded(content: bytes) -> tuple[list[Part], dict[str, str]]:
    """Return the parts, by name, and the texts in a file's bytes.

    Raises:
        PatchError: They are not those of a patch.
    """
    metadata, entries, start = read_header(content)
    found, version = metadata.get("format"), metadata.get("version")
    if found != FORMAT:
        raise PatchError(f"its format is {brief(found)}, not {FORMAT!r}")
    if version != VERSION:
        raise PatchError(f"its version is {brief(version)}, and this library reads {VERSION!r}")
    _check_sum(content, metadata.get("checksum", ""))
    rows = read_rows(content, entries, start)
    names = sorted({name.rpartition(".")[0] for name in rows})
    if astray := sorted({f"{name}.{row}" for name in names for row in ROWS} ^ set(rows)):
        raise PatchError(
            f"a tensor has {', '.join(ROWS)} and nothing else: {brief(astray[0])} is missing or astray"
        )
    parts = [_part(name, [rows[f"{name}.{row}"] for row in ROWS], metadata) for name in names]
    _check_all(parts)
    own = _own_keys(names)
    return parts, {key: text for key, text in metadata.items() if key not in own}


def _part(name: str, rows: Sequence[torch.Tensor], metadata: Mapping[str, str]) -> Part:
    indices, old, new = rows
    shape = _shape(name, metadata.get(f"{name}.shape"))
    digest = metadata.get(f"{name}.sha256", "")
    if indices.dtype != _index_type(shape):
        raise PatchError(
            f"{name}.indices are {kind(indices.dtype)}, for the shape {shape} {kind(_index_type(shape))}"
        )
    if digest and not _is_digest(digest):
        raise PatchError(f"{name}.sha256 is no SHA-256: {brief(digest)}")
    return Part(name, shape, indices.long(), old, new, digest)


def _check(part: Part) -> None:
    """Refuse what is no change of a tensor of that shape. Any value may be: a network may hold NaN."""
    name, indices, size = part.name, part.indices, prod(part.shape)
    if not name or not _is_text(name) or not name.isprintable():
        raise PatchError(f"{brief(name)} is no name of a tensor")
    if not len(indices) == len(part.old) == len(part.new) or not len(indices):
        lengths = f"{len(indices)} indices, {len(part.old)} old and {len(part.new)} new values"
        raise PatchError(f"{name} has {lengths}: the same number of each is needed, and one at least")
    if part.old.dtype != part.new.dtype or part.new.dtype not in FLOATS:
        raise PatchError(
            f"{name} has old values in {kind(part.old.dtype)} and new ones in {kind(part.new.dtype)}: the same one of "
            f"{', '.join(map(kind, FLOATS))} is needed"
        )
    if int(indices[0]) < 0 or int(indices[-1]) >= size or not bool((indices[1:] > indices[:-1]).all()):
        raise PatchError(f"{name}.indices do not ascend from 0 or more to less than {size:,}, each once")


def _check_all(parts: Sequence[Part]) -> None:
    """Refuse parts that make no one patch."""
    if not parts:
        raise PatchError("it changes nothing")
    for part in parts:
        _check(part)
    types = sorted({kind(part.new.dtype) for part in parts})
    if len(types) > 1:
        raise PatchError(f"its tensors are in {' and '.join(types)}: one type is needed")
    if sum(prod(part.shape) for part in parts) >= LIMIT:
        raise PatchError(f"its tensors have {LIMIT:,} numbers or more together")


def _check_sum(content: bytes, checksum: str) -> None:
    """Compare the file with its checksum, that of the file with zeros in the checksum's place."""
    if not _is_digest(checksum):
        raise PatchError("it has no checksum")
    view, at = memoryview(content), content.find(checksum.encode())
    digest = hashlib.sha256(view[:at])
    digest.update(UNKNOWN.encode())
    digest.update(view[at + len(UNKNOWN) :])
    if digest.hexdigest() != checksum:
        raise PatchError("it was altered since it was written: its checksum is another")


def _own_keys(names: Iterable[str]) -> set[str]:
    """Return the keys of the text map that are the format's and not the maker's."""
    return {"format", "version", "checksum"} | {
        f"{name}.{key}" for name in names for key in ("shape", "sha256")
    }


def _index_type(shape: Sequence[int]) -> torch.dtype:
    return torch.int32 if prod(shape) < 1 << 31 else torch.int64


def _shape_text(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _shape(name: str, text: str | None) -> tuple[int, ...]:
    """Return the shape that a text tells of."""
    found = re.fullmatch(r"\[((?:\d{1,19}(?:,\d{1,19})*)?)\]", text or "", re.ASCII)
    shape = tuple(map(int, found[1].split(","))) if found and found[1] else ()
    if not found or _shape_text(shape) != text or len(shape) > DIMENSIONS or prod(shape) >= LIMIT:
        raise PatchError(f"{name}.shape is no shape: {brief(text)}")
    return shape


def _is_digest(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
