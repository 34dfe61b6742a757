"""Where the numbers of an ONNX model's tensors are: in which file, and at which byte."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bgd.deployed.file import QUANTISED
from bgd.deployed.graph import Slot, check_text, in_functions, label, slots, sparse
from bgd.deployed.numbers import Bytes, Numbers
from bgd.deployed.wire import Field, fields

if TYPE_CHECKING:
    import mmap

    import onnx

# Numbers of fields, from onnx.proto.
GRAPH = 7  # of a model
NODE, INITIALIZER = 1, 5  # of a graph
ATTRIBUTE = 5  # of a node
ONE, TENSOR, BODY, SEVERAL, BODIES = 2, 5, 6, 7, 11  # of an attribute: f, t, g, floats, graphs
RAW, FLOATS, DOUBLES = 9, 4, 10  # of a tensor: raw_data, float_data, double_data

TYPES = {1: torch.float32, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}
TYPED = {1: FLOATS, 11: DOUBLES}
COMPLEX, TEXT, BOOLEAN = (14, 15), 8, 9
PACKED = (
    "DequantizeLinear",
    "MatMulInteger",
    "ConvInteger",
    "MatMulNBits",
    "MatMulBnb4",
    "GatherBlockQuantized",
)
QUANTISING = ("Q", "DynamicQuantize")  # how names of other such operations begin: QLinearConv, QGemm
SPARSE = "is sparse: write the model with dense initializers"
INSIDE = (
    "is inside a function of the model, which may be called in several places: write the patch into the model that "
    "onnx.inliner.inline_local_functions makes of it"
)
AWAY = "has its numbers in external data that is not beside the file, or not as long as the file says"
SHORT = "has not as many numbers as its shape says"


@dataclass(frozen=True)
class Place:
    """A tensor of a graph.

    Attributes:
        shape: Its shape.
        numbers: Where its numbers are; None where they are whole numbers of any length.
        dtype: Its type.
        words: Its numbers as whole numbers, where `numbers` is None.
        location: The file of external data that they are in; None for the ONNX file itself.
        users: The nodes that use it.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    numbers: Numbers | None
    words: tuple[int, ...]
    location: Path | None
    users: tuple[str, ...]

    @property
    def in_place(self) -> bool:
        """Whether a number of it can be written where it is, in the ONNX file."""
        return self.numbers is not None and self.location is None

    def read(self, content: Bytes) -> torch.Tensor:
        """Return the tensor, out of the file that it is in."""
        if self.numbers is None:
            words = np.array(self.words, dtype=np.uint16).view(np.int16)
            return torch.from_numpy(words).view(self.dtype).view(self.shape)
        return self.numbers.read(content, self.shape)

    def write(self, content: "bytearray | mmap.mmap", indices: torch.Tensor, values: torch.Tensor) -> None:
        """Write values (k,) at flat positions (k,) into the file that it is in."""
        assert self.numbers is not None, "such a tensor is embedded before it is written"
        self.numbers.write(content, indices, values)


def places(model: "onnx.ModelProto", content: Bytes, folder: Path) -> tuple[dict[str, Place], dict[str, str]]:
    """Return the tensors of floats by name, and why others cannot be changed.

    Args:
        model: What onnx read out of the file.
        content: The file's bytes.
        folder: Where external data is.

    Raises:
        ValueError: The file is not what onnx read, or has two tensors of one name.
    """
    check_text(model)
    found: dict[str, Place] = {}
    unfit = {name: SPARSE for name in sparse(model.graph, "")} | dict.fromkeys(in_functions(model), INSIDE)
    whole = [field for field in fields(content, 0, len(content)) if field.number == GRAPH]
    if len(whole) != 1:
        raise ValueError(f"it has {len(whole)} graphs")
    for slot, span in zip(slots(model.graph, ""), _spans(content, whole[0]), strict=True):
        if not slot.name:
            continue
        if slot.name in found or slot.name in unfit:
            raise ValueError(f"two of its tensors are called {slot.name}")
        place = _place(slot, content, span, folder)
        if isinstance(place, Place):
            found[slot.name] = place
        elif place:
            unfit[slot.name] = place
    return found, unfit


def beside(folder: Path, location: str) -> Path | None:
    """Return a file of external data; None where there is none in the model's folder."""
    path = folder / location
    return path if path.resolve().is_relative_to(folder.resolve()) and path.is_file() else None


def _spans(content: Bytes, graph: Field) -> Iterator[Field]:
    """Give where the slots of a graph are, in their order."""
    inside = list(fields(content, graph.first, graph.last))
    yield from (each for each in inside if each.number == INITIALIZER)
    for node in (each for each in inside if each.number == NODE):
        for attribute in fields(content, node.first, node.last):
            if attribute.number == ATTRIBUTE:
                yield attribute
                bodies = list(fields(content, attribute.first, attribute.last))
                for number in (BODY, BODIES):
                    for body in (each for each in bodies if each.number == number):
                        yield from _spans(content, body)


def _place(slot: Slot, content: Bytes, span: Field, folder: Path) -> Place | str:
    """Return where a tensor is, why it cannot be changed, or nothing where it is no weight."""
    users = tuple(user if isinstance(user, str) else label(user) for user in slot.users)
    tensor = slot.tensor
    if tensor is None:
        several = slot.item.name == "value_floats"
        plain = Numbers(torch.float32, _runs(content, span, SEVERAL if several else ONE, 4))
        return Place((plain.count,) if several else (), torch.float32, plain, (), None, users)
    if tensor.data_type not in TYPES:
        return QUANTISED if _packed(tensor, slot) else ""
    dtype, shape = TYPES[tensor.data_type], tuple(tensor.dims)
    if slot.item is not tensor:
        span = _only(content, span, TENSOR)
    location: Path | None = None
    numbers: Numbers | None = None
    if tensor.data_location == tensor.EXTERNAL:
        found = _external(tensor, dtype, shape, folder)
        if found is None:
            return AWAY
        location, numbers = found
    elif tensor.HasField("raw_data"):
        numbers = Numbers(dtype, _runs(content, span, RAW, dtype.itemsize)[-1:])
    elif tensor.data_type in TYPED:
        numbers = Numbers(dtype, _runs(content, span, TYPED[tensor.data_type], dtype.itemsize))
    words = () if numbers else tuple(word & 0xFFFF for word in tensor.int32_data)
    if min(shape, default=0) < 0 or (numbers.count if numbers else len(words)) != prod(shape):
        return SHORT
    return Place(shape, dtype, numbers, words, location, users)


def _packed(tensor: "onnx.TensorProto", slot: Slot) -> bool:
    """Whether a tensor that is no plain float is a quantised weight, by the operations that use it."""
    if tensor.data_type in (*COMPLEX, TEXT, BOOLEAN) or len(tensor.dims) < 2:
        return False
    kinds = [user.op_type for user in slot.users if not isinstance(user, str)]
    return any(kind in PACKED or kind.startswith(QUANTISING) for kind in kinds)


def _runs(content: Bytes, span: Field, number: int, size: int) -> tuple[tuple[int, int], ...]:
    """Return the runs of numbers of `size` bytes in a field of a message, one for each time that it is there."""
    found = [each for each in fields(content, span.first, span.last) if each.number == number]
    if any((each.last - each.first) % size for each in found):
        raise ValueError("a row of numbers ends within a number")
    return tuple((each.first, (each.last - each.first) // size) for each in found)


def _only(content: Bytes, span: Field, number: int) -> Field:
    found = [each for each in fields(content, span.first, span.last) if each.number == number]
    if len(found) != 1:
        raise ValueError(f"an attribute has {len(found)} tensors")
    return found[0]


def _external(
    tensor: "onnx.TensorProto", dtype: torch.dtype, shape: tuple[int, ...], folder: Path
) -> tuple[Path, Numbers] | None:
    """Return the file beside the model that holds a tensor, and where; None where it does not."""
    told: Mapping[str, str] = {entry.key: entry.value for entry in tensor.external_data}
    path = beside(folder, told.get("location", ""))
    first, size = int(told.get("offset", 0)), prod(shape) * dtype.itemsize
    if (
        path is None
        or first < 0
        or int(told.get("length", size)) != size
        or first + size > path.stat().st_size
    ):
        return None
    return path, Numbers(dtype, ((first, prod(shape)),))
