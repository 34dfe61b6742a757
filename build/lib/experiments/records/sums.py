"""Checksums beside files, in the format of `sha256sum`: a folder that can be held to what was written."""

import string
from collections.abc import Iterable
from pathlib import Path

from experiments.records.files import sha256, write
from experiments.records.schema import RecordError

SUMS = "SHA256SUMS"

Sums = dict[str, str]  # the SHA-256 of each file of a folder, by name


def write_sums(folder: Path, names: Iterable[str]) -> Path:
    """Write the checksums of some files of a folder: `sha256sum -c SHA256SUMS` says the same as this module."""
    lines = [f"{sha256((folder / name).read_bytes())}  {name}\n" for name in sorted(names)]
    write(folder / SUMS, "".join(lines).encode())
    return folder / SUMS


def read_sums(folder: Path) -> Sums | None:
    """Return the checksums of a folder; None where there are none: it was written before there were any.

    Raises:
        RecordError: The file is not in the format.
    """
    path = folder / SUMS
    if not path.exists():
        return None
    found: Sums = {}
    for number, line in enumerate(read(path).split(b"\n")[:-1], 1):
        digits, _, name = line.decode(errors="replace").partition("  ")
        if len(digits) != 64 or set(digits) - set(string.hexdigits) or not name:
            raise RecordError(f"{path}, line {number}: no checksum and name of a file")
        found[name] = digits
    return found


def read(path: Path, sums: Sums | None = None) -> bytes:
    """Return the content of a file.

    Args:
        path: Of the file.
        sums: Of its folder, which it is held to.

    Raises:
        RecordError: It is not there or not what was written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise RecordError(f"{path} is missing") from error
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}") from error
    if sums is not None and path.name not in sums:
        raise RecordError(f"{path} has no line in {path.with_name(SUMS)}")
    if sums is not None and sha256(content) != sums[path.name]:
        raise RecordError(f"{path} is not what was written: its checksum in {SUMS} is another")
    return content
