"""A model as a file: its tensors, a patch carried to them, and the file written anew."""

from bgd.deployed.carry import Carried, apply_to_file, carried, verify_file
from bgd.deployed.file import FormatError, TensorFile
from bgd.deployed.session import session
from bgd.deployed.tensors import open_tensors

__all__ = [
    "Carried",
    "FormatError",
    "TensorFile",
    "apply_to_file",
    "carried",
    "open_tensors",
    "session",
    "verify_file",
]
