"""A running ONNX Runtime session with a patch, the file untouched."""

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bgd.deployed.carry import carried
from bgd.deployed.onnx_file import OnnxFile
from bgd.deployed.tensors import Changes, FormatError, open_tensors
from bgd.patch import Patch

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped, unused-ignore]

FOLDER = "session.model_external_initializers_file_folder_path"  # where external data of a model in memory is


def session(
    path: str | PathLike[str],
    patch: Patch | None = None,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    threads: int | None = None,
    *,
    strict: bool = True,
    shared: bool = False,
) -> Any:
    """Open an ONNX file in ONNX Runtime, with a patch put over its tensors.

    The patched initializers are put over the file's when the session is made (`SessionOptions.add_initializer`). Where
    that cannot be, for Constant nodes, subgraphs, external data, bfloat16, and initializers that are inputs of the
    graph as well, the session is of a patched model in memory.

    Args:
        path: The file; nothing is written.
        patch: The change, carried by value.
        providers: What ONNX Runtime may run on.
        threads: Threads of an operation; ONNX Runtime's own choice where it is None.
        strict: See `bgd.deployed.carry.carried`.
        shared: See there.

    Returns:
        The `onnxruntime.InferenceSession`. It keeps the values alive that it uses.

    Raises:
        PatchError: The patch does not fit the file.
        FormatError: The file is no ONNX file.
        ModuleNotFoundError: The package onnx or onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{path} needs the package onnxruntime: pip install 'bgd[onnx]'") from error
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    file = open_tensors(path) if patch is not None else None
    if file is None or patch is None:
        return onnxruntime.InferenceSession(fspath(path), options, providers=list(providers))
    if not isinstance(file, OnnxFile):
        raise FormatError(f"{path} is {file.kind}, and ONNX Runtime runs ONNX files")
    parts = carried(patch, file, strict=strict, shared=shared).patch.parts()
    changes = {part.name: (part.indices, part.new) for part in parts}
    if all(file.overridable(name) for name in changes):
        values = _put_over(file, changes, options)
        model: str | bytes = fspath(path)
    else:
        options.add_session_config_entry(FOLDER, fspath(Path(path).parent.resolve()))
        values, model = [], file.embedded(changes)
    made = onnxruntime.InferenceSession(model, options, providers=list(providers))
    made.patched_values = values  # ONNX Runtime does not copy them: they live as long as the session
    return made


def _put_over(
    file: OnnxFile, changes: Changes, options: "onnxruntime.SessionOptions"
) -> "list[onnxruntime.OrtValue]":
    """Name the patched tensors in the options of a session, and return them."""
    import onnxruntime

    values = []
    for name, (indices, new) in changes.items():
        tensor: torch.Tensor = file.tensor(name)
        tensor.view(-1)[indices] = new
        values.append(onnxruntime.OrtValue.ortvalue_from_numpy(tensor.numpy()))
        options.add_initializer(name, values[-1])
    return values
