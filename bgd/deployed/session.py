"""A running ONNX Runtime session with a patch, the file untouched.

The session is of a patched model in memory. `SessionOptions.add_initializer`, made for values over a file's, is not
used: with the default optimisations ONNX Runtime 1.32 computes with the file's values where it folds or reorders
weights as the session is made (a convolution, a MatMul before a BatchNormalization, a transposed weight), and says
nothing (findings/onnxruntime_add_initializer_is_ignored.sh).
"""

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from bgd.deployed.carry import carried
from bgd.deployed.file import FormatError
from bgd.deployed.onnx_file import OnnxFile
from bgd.deployed.packages import needed
from bgd.deployed.tensors import open_tensors
from bgd.patch import Patch

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

    Initializers, Constant nodes, subgraphs and external data alike: the patched tensors are in the model that the
    session is made of, external data that the patch leaves alone stays where it is.

    Args:
        path: The file; nothing is written.
        patch: The change, carried by value.
        providers: What ONNX Runtime may run on.
        threads: Threads of an operation; ONNX Runtime's own choice where it is None.
        strict: See `bgd.deployed.carry.carried`.
        shared: See there.

    Returns:
        The `onnxruntime.InferenceSession`.

    Raises:
        PatchError: The patch does not fit the file.
        FormatError: The file is no ONNX file.
        OSError: It cannot be read.
        ModuleNotFoundError: The package onnx or onnxruntime is not installed.
    """
    onnxruntime = needed("onnxruntime")
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    if patch is None:
        Path(path).stat()  # what ONNX Runtime raises where there is no file is no OSError
        return onnxruntime.InferenceSession(fspath(path), options, providers=list(providers))
    file = open_tensors(path)
    if not isinstance(file, OnnxFile):
        raise FormatError(f"{path} is {file.kind}, and ONNX Runtime runs ONNX files")
    parts = carried(patch, file, strict=strict, shared=shared).patch.parts()
    changes = {part.name: (part.indices, part.new) for part in parts}
    options.add_session_config_entry(FOLDER, fspath(Path(path).parent.resolve()))
    return onnxruntime.InferenceSession(file.embedded(changes), options, providers=list(providers))
