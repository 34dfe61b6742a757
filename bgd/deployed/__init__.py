"""A model as a file: the network in it to correct, its tensors, a patch carried to them, the file written anew."""

from bgd.deployed.carry import Carried, apply_to_file, carried, verify_file
from bgd.deployed.file import FormatError, TensorFile
from bgd.deployed.model import Deployed, TorchModel, load
from bgd.deployed.onnx_head import OnnxModel
from bgd.deployed.session import session
from bgd.deployed.tensors import open_tensors

__all__ = [
    "Carried",
    "Deployed",
    "FormatError",
    "OnnxModel",
    "TensorFile",
    "TorchModel",
    "apply_to_file",
    "carried",
    "load",
    "open_tensors",
    "session",
    "verify_file",
]
