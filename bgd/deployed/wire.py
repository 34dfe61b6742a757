"""Where the fields of a protobuf message are, in bytes.

The package onnx says what a graph means, and not where in the file a number is. Source: the encoding section of the
protobuf documentation.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bgd.deployed.numbers import Bytes

VARINT, WIDE, LENGTH, NARROW = (
    0,
    1,
    2,
    5,
)  # the wire types that there are: a number, 8 bytes, a length and as many, 4
SIZES = {WIDE: 8, NARROW: 4}


@dataclass(frozen=True)
class Field:
    """A field of a message.

    Attributes:
        number: Which one, as in the .proto file.
        first: Its first byte, behind its tag and its length.
        last: The one after its last.
    """

    number: int
    first: int
    last: int


def fields(content: Bytes, first: int, last: int) -> Iterator[Field]:
    """Give the fields of the message in some bytes, in their order.

    Raises:
        ValueError: The bytes are no message.
    """
    at = first
    while at < last:
        tag, at = _varint(content, at, last)
        kind = tag & 7
        if kind == VARINT:
            end = _varint(content, at, last)[1]
        elif kind == LENGTH:
            length, at = _varint(content, at, last)
            end = at + length
        elif kind in SIZES:
            end = at + SIZES[kind]
        else:
            raise ValueError(f"there is no wire type {kind}")
        if end > last:
            raise ValueError("a field ends behind its message")
        yield Field(tag >> 3, at, end)
        at = end


def _varint(content: Bytes, at: int, last: int) -> tuple[int, int]:
    """Return the number that begins at a place, seven bits a byte, and the place behind it."""
    value = shift = 0
    while at < last and shift < 70:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("a number does not end")
