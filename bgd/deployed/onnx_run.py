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
        NetworkError: The runtime does not take the model.
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
        first = self._inputs[0].shape[:1] if self._inputs else []
        self._rows = first[0] if first and isinstance(first[0], int) and first[0] > 0 else 1  # at a time

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
        sizes = sizes or [None] * raw.dim()  # a graph may leave the shape open
        fits = raw.dim() == len(sizes) and all(
            size in (None, own) for size, own in zip(sizes[1:], raw.shape[1:], strict=True)
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

    def __call__(self, names: Sequence[str], raw: torch.Tensor, **others: torch.Tensor) -> list[torch.Tensor]:
        """Run the graph on inputs (N, ...), as `check` returned them, one at a time.

        So no output depends on what other inputs there are, be it by rounding or because the graph looks at them. A
        graph that takes another number gets the same input several times.

        Args:
            names: Of the outputs that are wanted.
            raw: The inputs.
            others: Values (N, ...) of other inputs of the graph.

        Raises:
            InputError: It does not take them.
        """
        given = {self._inputs[0].name: raw, **others}
        found = [
            self._run(names, {name: each[at : at + 1] for name, each in given.items()})
            for at in range(len(raw))
        ]
        return [torch.cat(each) for each in zip(*found, strict=True)]

    def _run(self, names: Sequence[str], one: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        count = self._rows
        copies = {
            name: each.expand(count, *each.shape[1:]).contiguous().numpy() for name, each in one.items()
        }
        try:
            found = [torch.from_numpy(each) for each in self._session.run(list(names), copies)]
        except Exception as error:
            shape = tuple(next(iter(copies.values())).shape)
            raise InputError(
                f"ONNX Runtime does not take an input of shape {shape}: {first_line(error)}"
            ) from error
        return [
            each[:1] if each.dim() and len(each) == count else each.reshape(-1, *each.shape[1:])
            for each in found
        ]


def _words(value: Any) -> str:
    shape = ", ".join(str(size) if size is not None else "any" for size in value.shape)
    return f"{value.name!r}, {kind(TYPES[value.type]) if value.type in TYPES else value.type} ({shape})"


def _row(raw: torch.Tensor) -> int:
    return int((~torch.isfinite(raw)).flatten(1).any(1).nonzero()[0])
