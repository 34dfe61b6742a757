"""ONNX Runtime on tensors: the one input of a graph, checked by name, shape and type."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bgd.deployed.packages import needed
from bgd.errors import first_line
from bgd.flat import NetworkError
from bgd.outputs import InputError
from bgd.patch.parts import kind

CPU = ("CPUExecutionProvider",)
FOLDER = (
    "session.model_external_initializers_file_folder_path"  # where a model in memory has its large tensors
)
TYPES = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(int16)": torch.int16,
    "tensor(int8)": torch.int8,
    "tensor(uint8)": torch.uint8,
    "tensor(bool)": torch.bool,
}


class Runner:
    """A session of ONNX Runtime.

    Args:
        model: A file, or the bytes of one.
        folder: Where the large tensors of the bytes are.
        providers: Of the runtime.

    Raises:
        NetworkError: The runtime does not take the model, or it has several inputs.
    """

    def __init__(self, model: Path | bytes, folder: Path, providers: Sequence[str] = CPU) -> None:
        runtime = needed("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors are raised; warnings are about the graph as it was written
        if isinstance(model, bytes):
            options.add_session_config_entry(FOLDER, str(folder.resolve()))
        try:
            self._session = runtime.InferenceSession(model, options, providers=list(providers))
        except Exception as error:  # the runtime's own, one a kind of fault
            raise NetworkError(
                f"ONNX Runtime {runtime.__version__} refuses the model: {first_line(error)}"
            ) from error
        self._inputs = self._session.get_inputs()
        self.names = [each.name for each in self._session.get_outputs()]

    @property
    def rows(self) -> int | None:
        """Number of inputs that the graph takes at a time; None for any."""
        first = self._inputs[0].shape[:1]
        return first[0] if first and isinstance(first[0], int) and first[0] > 0 else None

    def check(self, raw: Any) -> torch.Tensor:
        """Return inputs (N, ...) that are those of the graph.

        Raises:
            InputError: They are not.
        """
        if len(self._inputs) != 1:
            named = ", ".join(map(_words, self._inputs))
            raise InputError(
                f"the graph has {len(self._inputs)} inputs, {named}: one tensor (N, ...) is taken"
            )
        wanted = self._inputs[0]
        if not isinstance(raw, torch.Tensor):
            raise InputError(f"the inputs are a {type(raw).__name__}: a tensor is wanted, {_words(wanted)}")
        sizes = [size if isinstance(size, int) and size > 0 else None for size in wanted.shape]
        fits = raw.dim() == len(sizes) and all(
            size is None or size == own for size, own in zip(sizes[1:], raw.shape[1:], strict=True)
        )
        if not fits or not raw.dim() or raw.dtype != TYPES.get(wanted.type):
            raise InputError(
                f"the inputs are {kind(raw.dtype)} {tuple(raw.shape)}, and the graph's is {_words(wanted)}"
            )
        if not len(raw):
            raise InputError("there is no input: the tensor is empty")
        if raw.is_floating_point() and not bool(torch.isfinite(raw).all()):
            raise InputError(f"the inputs are not finite, the first in row {_row(raw)}")
        return raw.detach().cpu().contiguous()

    def __call__(self, rows: torch.Tensor, **others: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the graph on some inputs (n, ...), as `check` returned them; return its outputs by name.

        Raises:
            InputError: It does not take them.
        """
        count, wanted = len(rows), self.rows or len(rows)
        if count < wanted:  # the graph takes so many and no other number: the last one again
            rows = torch.cat([rows, rows[-1:].expand(wanted - count, *rows.shape[1:])])
        given = {self._inputs[0].name: rows, **others}
        try:
            found = self._session.run(None, {name: each.numpy() for name, each in given.items()})
        except Exception as error:
            raise InputError(
                f"ONNX Runtime does not take inputs of shape {tuple(rows.shape)}: {first_line(error)}"
            ) from error
        return {name: _cut(each, wanted, count) for name, each in zip(self.names, found, strict=True)}


def _cut(value: Any, wanted: int, count: int) -> Any:
    """Return an output as a tensor, without what was made of the rows that were put in to fill up."""
    if not hasattr(value, "dtype") or value.dtype.kind not in "fiub":
        return value
    made = torch.from_numpy(value)
    return made[:count] if made.dim() and len(made) == wanted else made


def _words(value: Any) -> str:
    shape = ", ".join(str(size) if size is not None else "any" for size in value.shape)
    return f"{value.name!r}, {kind(TYPES[value.type]) if value.type in TYPES else value.type} ({shape})"


def _row(raw: torch.Tensor) -> int:
    return int((~torch.isfinite(raw)).flatten(1).any(1).nonzero()[0])
