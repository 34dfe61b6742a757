"""Arrays in files: .npy, .npz, .pt, .safetensors, never unpickled."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bgd.deployed import open_tensors
from bgd.errors import ConfigError, first_line, nearest
from bgd.outputs import InputError

DTYPES = ("bfloat16", "float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8")
SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors")


def array(text: str, where: str) -> torch.Tensor:
    """Read one array: a file, or `file:key` for one of several in it.

    Args:
        text: The file, as it was given.
        where: What the array is called, for messages.

    Raises:
        InputError: The file holds no array, or several and no key says which.
        OSError: It cannot be read.
    """
    path, key = split(text)
    if path.suffix == ".npy":
        if key:
            raise InputError(f"{where}: {path} holds one array, and no {key!r} among several")
        return _tensor(_opened(path, where), text, where)
    held = tensors(path, where)
    if not key and len(held) != 1:
        raise InputError(f"{where}: {path} holds {', '.join(held) or 'no array'}: {path}:KEY takes one")
    if key and key not in held:
        raise InputError(f"{where}: {path} holds no {key!r}; {nearest(key, held)}")
    return _tensor(held[key] if key else next(iter(held.values())), text, where)


def tensors(path: Path, where: str) -> dict[str, Any]:
    """Read the arrays of a file by name; a single one without a name has the empty one.

    Raises:
        InputError: It holds none.
        OSError: It cannot be read.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{where}: {path} is none of {', '.join(SUFFIXES)}")
    found = _opened(path, where)
    if isinstance(found, Mapping):
        return {str(key): value for key, value in found.items()}
    return {"": found}


def split(text: str) -> tuple[Path, str]:
    """Return the file and the key of `file:key`, where a file of the whole name is not there."""
    path, colon, key = text.rpartition(":")
    if colon and not Path(text).exists() and Path(path).suffix in SUFFIXES:
        return Path(path), key
    return Path(text), ""


def _opened(path: Path, where: str) -> Any:
    """Return the content of a file: an array, or arrays by name."""
    try:
        if path.suffix == ".safetensors":
            file = open_tensors(path)
            return {name: file.tensor(name) for name in file.names}
        if path.suffix in (".pt", ".pth"):
            return torch.load(path, map_location="cpu", weights_only=True)
        found = np.load(path, allow_pickle=False)
        return dict(found) if isinstance(found, np.lib.npyio.NpzFile) else found
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise InputError(f"{where}: {path} cannot be read as plain arrays: {first_line(error)}") from error


def _tensor(value: Any, text: str, where: str) -> torch.Tensor:
    """Return a value of a file as a tensor.

    Raises:
        InputError: It is none, or one of a type that torch has not.
    """
    if isinstance(value, torch.Tensor):
        return value.detach()
    try:
        return torch.from_numpy(np.ascontiguousarray(value).reshape(np.shape(value)))
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {text} is no array of numbers: {first_line(error)}") from error


def converted(values: torch.Tensor, dtype: str | None, where: str) -> torch.Tensor:
    """Turn values into a type by its name; leave them as they are for None.

    Raises:
        ConfigError: There is no such type.
    """
    if dtype is None:
        return values
    if dtype not in DTYPES:
        raise ConfigError(f"--dtype={dtype!r}, of {where}: no such type; {nearest(dtype, DTYPES)}")
    kind: torch.dtype = getattr(torch, dtype)
    return values.to(kind)
