"""Opening a model's file, whatever its format."""

from os import PathLike
from pathlib import Path

from bgd.deployed.file import FormatError, TensorFile
from bgd.deployed.gguf_file import GgufFile
from bgd.deployed.onnx_file import OnnxFile
from bgd.deployed.safetensors_file import SafetensorsFile
from bgd.deployed.torch_files import reader

ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began before it wrote zip archives
KINDS = "safetensors, a state dict of torch.save, TorchScript, .pt2 of torch.export, ONNX, GGUF"
REFUSED = (  # the offset of a mark, the mark, what to do instead
    (4, b"ORTM", "is in ONNX Runtime's own format: write into the .onnx file, and convert it again"),
    (
        4,
        b"TFL3",
        "is TensorFlow Lite, whose weights are packed: correct the float model, and convert it again",
    ),
    (0, b"\x89HDF", f"is HDF5: save the weights as one of {KINDS}"),
)


def open_tensors(path: str | PathLike[str]) -> TensorFile:
    """Open a model's file. Its format is told by its content, not by its suffix.

    Raises:
        FormatError: It is none of the formats, damaged, or has no weights that can be changed.
        ModuleNotFoundError: It is an ONNX file, and the package onnx is not installed.
        OSError: It cannot be read.
    """
    path = Path(path)
    if not path.is_file() and path.exists():
        raise FormatError(f"{path} is no plain file")
    with path.open("rb") as file:
        head = file.read(64)
    for at, mark, why in REFUSED:
        if head[at:].startswith(mark):
            raise FormatError(f"{path} {why}")
    opened = _reader(head, path)(path)
    if not opened.names:
        first = next(iter(opened.unfit.items()), None)
        why = f"{first[0]} {first[1]}" if first else "it holds no floating-point tensor"
        raise FormatError(f"{path} has no weights that a patch could change: {why}")
    return opened


def _reader(head: bytes, path: Path) -> type[TensorFile]:
    """Return the reader of a file that begins with `head`."""
    if head.startswith((ZIP, LEGACY)):
        return reader(path, zipped=head.startswith(ZIP))
    if head[4:9] == b"\0\0\0\0{":  # the length of a header, the header in JSON
        return SafetensorsFile
    if head.startswith(b"GGUF"):
        return GgufFile
    if head[:1] == b"\x08" or path.suffix == ".onnx":  # an ONNX file begins with its version, field 1
        return OnnxFile
    raise FormatError(f"{path} is none of {KINDS}")
