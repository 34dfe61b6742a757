"""Lines packed as xz, with one dictionary for a whole file: what is alike in many runs costs once."""

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from experiments.records.schema import RecordError

LARGEST = 2**26  # bytes of a dictionary; what reads a file needs as much memory
SMALLEST = 2**12  # what xz asks for


def packed(lines: Iterable[str]) -> bytes:
    """Pack lines; the same lines give the same bytes.

    Raises:
        RecordError: This Python has no lzma.
    """
    lzma, content = _lzma(), "".join(f"{line}\n" for line in lines).encode()
    text = {"lc": 4, "lp": 0, "pb": 0}  # in text the byte before says most, the place in the file nothing
    reach = min(max(len(content), SMALLEST), LARGEST)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": reach, **text}]
    made: bytes = lzma.compress(content, filters=filters)
    return made


def unpacked(content: bytes, path: Path) -> list[bytes]:
    """Return the lines in what `packed` made.

    Args:
        content: Of a file.
        path: Of the file, for an error.

    Raises:
        RecordError: It is cut short or damaged, or this Python has no lzma.
    """
    lzma = _lzma()
    try:
        whole: bytes = lzma.decompress(content)
    except lzma.LZMAError as error:
        raise RecordError(f"{path} cannot be unpacked: {error}") from error
    return whole.splitlines()


def _lzma() -> ModuleType:
    try:
        import lzma
    except ImportError as error:  # where its library was not there when Python was built
        raise RecordError(
            "the committed records cannot be read or written by a Python that was built without lzma: "
            "take another one (make PYTHON=... VENV=...), or install liblzma's headers (liblzma-dev, xz-devel) and "
            "build Python again"
        ) from error
    return lzma
