"""Packages of the extra `onnx`, imported when a file needs them."""

from importlib import import_module
from types import ModuleType


def needed(name: str) -> ModuleType:
    """Import `onnx` or `onnxruntime`.

    Raises:
        ModuleNotFoundError: It is not installed; the message says how to.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"an ONNX file needs the package {name}: pip install 'bgd[onnx]'"
        ) from error
