"""The archives of torch: a state dict, a TorchScript module, an exported program.

All three are zip archives with a record for each storage, not compressed. Torch reads the tensors; a storage's record
is the one with its bytes, and a value is written there. Where records are alike, each is tried until torch reads what
was meant. So every other byte stays, but for the checksums of the records that changed.
"""

import mmap
import struct
import warnings
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from bgd.deployed.file import QUANTISED, Changes, FormatError, TensorFile, is_quantised
from bgd.deployed.numbers import Bytes, Numbers, mapped, writable
from bgd.errors import first_line
from bgd.patch.file import FLOATS
from bgd.patch.parts import kind, unravelled

DESCRIBED = 8  # flag of a record whose checksum stands behind it: PK 07 08, then the checksum
FROZEN = (
    "is a frozen TorchScript module, whose weights are constants of its code: write the patch into the file of the "
    "module before torch.jit.freeze, and freeze it again"
)


class TorchFile(TensorFile):
    """Tensors that torch reads from a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tensors: dict[str, torch.Tensor] = {}
        self.unfit, self.rest = {}, {}
        for name, tensor in _quietly(self._read, path).items():
            if _plain(tensor):
                self._tensors[name] = tensor.detach()
            elif tensor.is_quantized or is_quantised(name, kind(tensor.dtype), tuple(tensor.shape)):
                self.unfit[name] = QUANTISED
            elif tensor.is_floating_point():
                self.unfit[name] = (
                    "is no plain dense tensor, whose values could be written: make it dense before"
                )
            else:
                self.rest[name] = tensor.detach()

    @staticmethod
    @abstractmethod
    def _read(path: Path) -> Mapping[str, torch.Tensor]:
        """Return every tensor of a file, by name."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, in the file's order."""
        return tuple(self._tensors)

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor; it lies in the memory that torch read it into."""
        return self._tensors[name]

    def tied(self, name: str) -> tuple[str, ...]:
        """Names of the tensors that lie in the same memory, place by place."""
        own = _memory(self._tensors[name])
        return tuple(each for each in self.names if each != name and _memory(self._tensors[each]) == own)

    def _write(self, partial: Path, changes: Changes) -> None:
        with zipfile.ZipFile(partial) as archive:
            records = [info for info in archive.infolist() if info.compress_type == zipfile.ZIP_STORED]
        with writable(partial) as content:
            for name, (indices, values) in changes.items():
                self._write_one(partial, content, records, name, (indices, values))
            _sum_again(content, self.path)

    def _write_one(
        self,
        partial: Path,
        content: mmap.mmap,
        records: list[zipfile.ZipInfo],
        name: str,
        change: tuple[torch.Tensor, torch.Tensor],
    ) -> None:
        tensor, (indices, values) = self._tensors[name], change
        before, wanted = _storage(tensor), self._changed(name, indices, values)
        steps = zip(unravelled(indices, tuple(tensor.shape)), tensor.stride() or (1,), strict=True)
        places = sum((place * step for place, step in steps), torch.tensor(tensor.storage_offset()))
        spans = [_span(content, info) for info in records if info.file_size == len(before)]
        alike = [span for span in spans if content[span] == before]
        for span in alike:
            count = len(before) // tensor.element_size()
            Numbers(tensor.dtype, ((span.start, count),)).write(content, places, values)
            if len(alike) == 1 or _bytes(type(self)(partial)._tensors[name]) == _bytes(wanted):
                return
            content[span] = before
        raise FormatError(f"{name} is in no record of {self.path} as torch reads it: save the model anew")


class StateDict(TorchFile):
    """A state dict of torch.save, or a checkpoint with one in it; names of nested ones are joined by dots."""

    kind = "state dict"

    @staticmethod
    def _read(path: Path) -> Mapping[str, torch.Tensor]:
        return _collected(torch.load(path, map_location="cpu", weights_only=True))


class LegacyStateDict(StateDict):
    """A state dict as torch.save wrote it before 1.6, one stream: torch writes it anew as a whole."""

    def _write(self, partial: Path, changes: Changes) -> None:
        whole = _quietly(lambda path: torch.load(path, map_location="cpu", weights_only=True), partial)
        tensors = _collected(whole)
        for name, (indices, values) in changes.items():
            places = unravelled(indices, tuple(tensors[name].shape))
            tensor = tensors[name].detach()
            (tensor if tensor.ndim else tensor.view(1))[places] = values
        torch.save(whole, partial, _use_new_zipfile_serialization=False)


class TorchScript(TorchFile):
    """A TorchScript module: its parameters and buffers."""

    kind = "TorchScript"

    @staticmethod
    def _read(path: Path) -> Mapping[str, torch.Tensor]:
        module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        found: dict[str, torch.Tensor] = dict(module.state_dict())
        if not any(tensor.is_floating_point() for tensor in found.values()):
            raise FormatError(f"it {FROZEN}")
        return found


class Exported(TorchFile):
    """A program of torch.export: its parameters and buffers."""

    kind = "torch.export"

    @staticmethod
    def _read(path: Path) -> Mapping[str, torch.Tensor]:
        with path.open("rb") as file:  # of a path it wants the suffix
            found: Mapping[str, torch.Tensor] = torch.export.load(file).state_dict
        return found


def reader(path: Path, zipped: bool) -> type[TorchFile]:
    """Return the reader of a file of torch, told by the records that it has.

    Raises:
        FormatError: It is another archive, or damaged.
    """
    if not zipped:
        return LegacyStateDict
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [info.filename.partition("/")[2] for info in archive.infolist()]
            orders = [info for info in archive.infolist() if info.filename.endswith("/byteorder")]
            _check_sums(archive)
        with mapped(path) as content:
            big = any(content[_span(content, info)] == b"big" for info in orders)
    except Exception as error:  # zipfile raises a dozen kinds
        raise FormatError(f"{path} is a damaged archive: {first_line(error)}") from error
    if big:
        raise FormatError(f"{path} was written by a big-endian machine: save the model anew")
    if "models/model.json" in inside:
        return Exported
    if any(name.startswith("data/aotinductor/") for name in inside):
        raise FormatError(
            f"{path} is a compiled package: write the patch into the .pt2 of torch.export, and compile it again"
        )
    if "data.pkl" not in inside:
        raise FormatError(f"{path} is an archive, and none that torch.save, torch.jit or torch.export writes")
    return TorchScript if "constants.pkl" in inside else StateDict


def _quietly(read: Any, path: Path) -> Any:
    """Read a file without the warnings that its format is an old one.

    Raises:
        FormatError: Torch cannot read it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read(path)
        except OSError:
            raise
        except Exception as error:  # what the readers of torch raise is of any kind
            what = (
                "it holds more than tensors: save the model's state_dict() alone"
                if ("weights_only" in str(error).lower() or "weights only" in str(error).lower())
                else first_line(error)
            )
            raise FormatError(f"{path} cannot be read: {what}") from error


def _collected(found: object) -> dict[str, torch.Tensor]:
    """Return every tensor in nested mappings and lists, by the keys on the way to it."""
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in _walk(found, "", ()):
        if name in tensors:
            raise FormatError(f"two tensors would be called {name}")
        tensors[name] = tensor
    return tensors


def _walk(value: object, name: str, above: tuple[int, ...]) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name or "tensor", value
        return
    if id(value) in above:
        return
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        whole = any(isinstance(each, torch.Tensor) and each.is_quantized for each in value)
        items = list(
            enumerate(value[:1] if whole else value)
        )  # packed parameters: a weight, and its bias with it
    else:
        return
    for key, each in items:
        yield from _walk(each, f"{name}.{key}" if name else str(key), (*above, id(value)))


def _plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor's values can be compared and written."""
    return (
        tensor.dtype in FLOATS
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and type(tensor.detach()) is torch.Tensor
        and all(step or size <= 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True))
    )


def _memory(tensor: torch.Tensor) -> tuple[object, ...]:
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _storage(tensor: torch.Tensor) -> bytes:
    """Return the bytes of the memory that a tensor lies in."""
    return bytes(torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).numpy())


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def _span(content: Bytes, info: zipfile.ZipInfo) -> slice:
    """Return where the bytes of a record are."""
    name, extra = struct.unpack_from("<HH", content, info.header_offset + 26)
    first = info.header_offset + 30 + name + extra
    return slice(first, first + info.compress_size)


def _check_sums(archive: zipfile.ZipFile) -> None:
    """Refuse an archive with a record that its checksum does not fit. Torch does not look at them."""
    for info in archive.infolist():
        if info.CRC:  # 0: written without, see torch.serialization.set_crc32_options
            archive.read(info)


def _sum_again(content: mmap.mmap, source: Path) -> None:
    """Write the checksum of each record that has one and whose bytes changed."""
    with zipfile.ZipFile(source) as archive:
        records, entry = archive.infolist(), archive.start_dir
    for info in records:
        span = _span(content, info)
        if info.CRC and info.compress_type == zipfile.ZIP_STORED:
            known, now = struct.pack("<I", info.CRC), struct.pack("<I", zlib.crc32(content[span]))
            behind = span.stop + 4 * (content[span.stop : span.stop + 4] == b"PK\x07\x08")
            own = behind if info.flag_bits & DESCRIBED else info.header_offset + 14
            for at in (own, entry + 16):
                if content[at : at + 4] != known:
                    raise FormatError(f"{source} has the checksum of {info.filename} where none belongs")
                content[at : at + 4] = now
        entry += 46 + sum(struct.unpack_from("<HHH", content, entry + 28))
