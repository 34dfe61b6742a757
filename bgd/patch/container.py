"""The safetensors container, read and written strictly: named rows of numbers and a text map, in one file.

Eight bytes with the length of the header (little-endian), the header in JSON, the numbers. The subset here is that of
patches: one dimension, six types. Every length is compared with the bytes that are there before anything is made of
it, so what a file claims never costs more memory than the file has bytes. Source: the format section of the
safetensors project's README.

That project's package reads these files (tests/test_patch_file.py). It does not write them: it puts the text map in
another order each time, and a patch has the same bytes each time. It does not read them here: it gives the text map of
a path alone, and takes a name that is there twice.
"""

import json
import mmap
import reprlib
import struct
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bgd.patch.parts import PatchError, bits

TYPES = {
    "F64": torch.float64,
    "I64": torch.int64,
    "F32": torch.float32,
    "I32": torch.int32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
NAMES = {dtype: name for name, dtype in TYPES.items()}
HEADER_LIMIT = 1 << 24  # bytes: JSON becomes some twenty times its size in memory
METADATA = "__metadata__"


def brief(value: object) -> str:
    """Return a value in a few words: what a file says may be as long as the file."""
    short = reprlib.Repr()
    short.maxstring = 120
    return short.repr(value)


def packed(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytearray:
    """Return a file's bytes.

    Args:
        tensors: Rows of numbers (k,) in one of `TYPES`, by name.
        metadata: A text map. Its entries come first in the file, in their order.

    Raises:
        PatchError: The header would be too long to read.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)}
    rows, end = [], 0
    for name in sorted(
        tensors, key=lambda name: (-tensors[name].element_size(), name)
    ):  # wide first: aligned
        row = _bytes(tensors[name])
        header[name] = {
            "dtype": NAMES[tensors[name].dtype],
            "shape": [len(tensors[name])],
            "data_offsets": [end, end + len(row)],
        }
        rows.append(row)
        end += len(row)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        raise PatchError(f"its header would have {len(text):,} bytes, and {HEADER_LIMIT:,} is the most")
    return bytearray().join([struct.pack("<Q", len(text)), text, *rows])


def read_header(content: bytes) -> tuple[dict[str, str], dict[str, Any], int]:
    """Return the text map of a file's bytes, its entries for `read_rows`, and the place where its numbers begin.

    Raises:
        PatchError: They are no safetensors file, or one without a text map.
    """
    header, start = json_header(content)
    metadata = header.pop(METADATA, None)
    if type(metadata) is not dict or not all(type(text) is str for text in metadata.values()):
        raise PatchError(f"its header has no {METADATA!r} from text to text")
    return metadata, header, start


def json_header(content: bytes | bytearray | mmap.mmap) -> tuple[dict[str, Any], int]:
    """Return the header of any safetensors file's bytes, the text map included, and where its numbers begin.

    Raises:
        PatchError: They are no safetensors file.
    """
    if len(content) < 8:
        raise PatchError(f"it has {len(content)} bytes, too few for a safetensors file")
    (length,) = struct.unpack_from("<Q", content)
    if length > len(content) - 8:
        raise PatchError(f"it tells of a header of {length:,} bytes, and has {len(content) - 8:,}")
    if length > HEADER_LIMIT:
        raise PatchError(f"its header has {length:,} bytes, and {HEADER_LIMIT:,} is the most")
    text = content[8 : 8 + length]
    if text[:1] != b"{":
        raise PatchError("it is no safetensors file: its header does not begin with a brace")
    try:
        header = json.loads(text.decode(), object_pairs_hook=_once)
        json.dumps(header, ensure_ascii=False).encode()  # half of a pair of surrogates is no text
    except PatchError:
        raise
    except (ValueError, RecursionError) as error:
        raise PatchError(f"its header is no JSON: {type(error).__name__}") from error
    return header, 8 + length


def read_rows(content: bytes, entries: Mapping[str, Any], start: int) -> dict[str, torch.Tensor]:
    """Return the rows of numbers of a file's bytes, each in memory of its own.

    Raises:
        PatchError: They are outside the subset, or do not take up the bytes one after another.
    """
    spans = {name: _span(name, entry) for name, entry in entries.items()}
    check_gapless({name: span[1:] for name, span in spans.items()}, len(content) - start)
    view = memoryview(content)[start:]
    return {name: _row(view[first:last], dtype) for name, (dtype, first, last) in spans.items()}


def check_gapless(spans: Mapping[str, tuple[int, int]], size: int) -> None:
    """Refuse numbers, first byte and the one after the last by name, that do not take up `size` bytes in a row.

    Raises:
        PatchError: Says where the gap is.
    """
    end = 0
    for name, (first, last) in sorted(spans.items(), key=lambda item: item[1]):
        if first != end:
            raise PatchError(
                f"the bytes of {brief(name)} begin at {brief(first)}, and those before it end at {end}"
            )
        end = last
    if end != size:
        raise PatchError(f"it has {size:,} bytes of numbers, and its header tells of {brief(end)}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a map of pairs; refuse a key that is there twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise PatchError("its header has a name twice")
    return made


def _span(name: str, entry: object) -> tuple[torch.dtype, int, int]:
    """Return type, first and last place of a row of numbers, whose length is what these tell."""
    match entry:
        case {"dtype": str(kind), "shape": [size], "data_offsets": [first, last], **rest} if (
            kind in TYPES and not rest and all(type(number) is int for number in (size, first, last))
        ):
            if size >= 0 and last - first == size * TYPES[kind].itemsize:
                return TYPES[kind], first, last
            raise PatchError(
                f"{brief(name)} has {brief(size)} numbers of {kind}, and {brief(last - first)} bytes"
            )
    raise PatchError(f"{brief(name)} is no row of numbers in {', '.join(TYPES)}")


def _bytes(row: torch.Tensor) -> bytes:
    """Return the bytes of a row of numbers, little-endian."""
    values = bits(row.detach().cpu().contiguous()).numpy()
    return (values if sys.byteorder == "little" else values.byteswap()).tobytes()


def _row(content: memoryview, dtype: torch.dtype) -> torch.Tensor:
    """Return a row of numbers in memory of its own."""
    whole = np.frombuffer(content, f"<i{dtype.itemsize}")
    return torch.from_numpy(whole.astype(f"=i{dtype.itemsize}")).view(dtype)
