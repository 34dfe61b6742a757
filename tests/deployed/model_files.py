"""Small models in files of every format that a patch is written into."""

import struct
import warnings

import numpy as np
import onnx
import torch
from odd_patches import bytes_of
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from bgd.patch import Part, Patch
from bgd.patch.parts import sha256


def network(kind=torch.float32):
    """Convolution, normalisation and a linear layer, with alike tensors among them: their records are alike too."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)).eval()
    return made.to(kind)


def patch_of(module, changes, hashed=True):
    """The patch that gives some flat positions of parameters new values: {name: {position: value}}."""
    parts, tensors = [], dict(module.named_parameters())
    for name, new in changes.items():
        tensor, indices = tensors[name].detach(), torch.tensor(sorted(new))
        old = tensor.reshape(-1)[indices].clone()
        values = torch.tensor([new[at] for at in sorted(new)]).to(tensor.dtype)
        parts.append(Part(name, tuple(tensor.shape), indices, old, values, sha256(tensor) if hashed else ""))
    return Patch.of_parts(parts, {"method": "by hand"})


def state_dict(module, path):
    torch.save(module.state_dict(), path)


def legacy(module, path):
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=False)


def checkpoint(module, path):
    parallel = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": parallel, "losses": [1.0, torch.zeros(2)]}, path)


def transposed_in_memory(module, path):
    state = module.state_dict()
    torch.save({name: t.T.contiguous().T if t.ndim == 2 else t for name, t in state.items()}, path)


def safetensors(module, path):
    save_file(module.state_dict(), path, {"format": "pt"})


def gguf(module, path, others=(), version=3):
    """As ggml writes it: keys and values, then tensors, then their numbers from a multiple of 64 on.

    Of `others` each is a name, a shape, a type's number and its bytes.
    """
    kinds = {torch.float32: 0, torch.float16: 1, torch.float64: 28, torch.bfloat16: 30}
    tensors = [
        (name, tuple(tensor.shape), kinds[tensor.dtype], bytes_of(tensor))
        for name, tensor in module.state_dict().items()
        if tensor.ndim
    ]
    values = [
        packed("general.alignment") + struct.pack("<II", 4, 64),
        packed("general.name") + struct.pack("<I", 8) + packed("a net"),
        packed("tokens") + struct.pack("<IIQ", 9, 8, 2) + packed("a") + packed("b"),
        packed("scores") + struct.pack("<IIQ3f", 9, 6, 3, 1, 2, 3),
        packed("bias") + struct.pack("<I?", 7, True),
    ]
    told, numbers = [], b""
    for name, shape, kind, content in (*tensors, *others):
        told.append(
            packed(name)
            + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
            + struct.pack("<IQ", kind, len(numbers))
        )
        numbers += aligned(content)
    head = b"GGUF" + struct.pack("<IQQ", version, len(told), len(values))
    path.write_bytes(aligned(head + b"".join(values + told)) + numbers)


def packed(text):
    return struct.pack("<Q", len(text)) + text.encode()


def aligned(content):
    return content + b"\0" * (-len(content) % 64)


def script(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(path, _extra_files={"labels.txt": b"a b c"})


def exported(module, path):
    program = torch.export.export(module, (torch.zeros(1, 1, 4, 4),))
    torch.export.save(program, path)


def graph(module, raw=True, constants=False, transposed=False, prefix=""):
    """The network as an ONNX model, written by hand: no exporter folds or renames anything."""
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items() if tensor.ndim}
    if transposed:
        state["3.weight"] = np.ascontiguousarray(state["3.weight"].T)
    tensors = [
        numpy_helper.from_array(value, prefix + name)
        if raw
        else helper.make_tensor(
            prefix + name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape, value.ravel()
        )
        for name, value in state.items()
    ]
    gemm = {"transB": int(not transposed)}
    names = {name: prefix + name for name in state}
    norm = [names[f"1.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
    nodes = [
        helper.make_node("Conv", ["x", names["0.weight"], names["0.bias"]], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", *norm], ["n"], "norm"),
        helper.make_node("Flatten", ["n"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", names["3.weight"], names["3.bias"]], ["y"], "gemm", **gemm),
    ]
    if constants:
        nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in tensors] + nodes
        tensors = []
    kind = helper.np_dtype_to_tensor_dtype(state["0.weight"].dtype)
    inputs = [helper.make_tensor_value_info("x", kind, ["n", 1, 4, 4])]
    outputs = [helper.make_tensor_value_info("y", kind, ["n", 3])]
    made = helper.make_graph(nodes, "network", inputs, outputs, tensors)
    return helper.make_model(made, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def onnx_raw(module, path):
    onnx.save(graph(module), path)


def onnx_typed(module, path):
    onnx.save(graph(module, raw=False), path)


def onnx_constants(module, path):
    onnx.save(graph(module, constants=True), path)


def onnx_external(module, path):
    onnx.save(graph(module), path, save_as_external_data=True, location=f"{path.name}.bin", size_threshold=0)


def onnx_unordered(module, path):
    """As another writer may order it: tensors before nodes, numbers before names, the version at both ends."""
    whole = graph(module)
    tensors = [field(9, tensor.raw_data) + without(tensor, "raw_data") for tensor in whole.graph.initializer]
    inside = b"".join(field(5, tensor) for tensor in tensors) + without(whole.graph, "initializer")
    rest = without(whole, "graph")
    path.write_bytes(rest[:2] + field(7, inside) + rest)
    assert onnx.load(path).SerializeToString() != path.read_bytes()


def without(message, name):
    """The bytes of a message without one of its fields."""
    rest = type(message)()
    rest.CopyFrom(message)
    rest.ClearField(name)
    return rest.SerializeToString()


def field(number, content):
    """A field of bytes as protobuf writes it."""
    size, length = len(content), b""
    while size >= 128:
        length += bytes([size % 128 + 128])
        size //= 128
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def exported_onnx(module, path, dynamo):
    """As the exporters of torch write it: BatchNorm folded into the convolution."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = (torch.zeros(1, 1, 4, 4),)
        options = {"external_data": False, "verbose": False} if dynamo else {}
        torch.onnx.export(module, inputs, path, dynamo=dynamo, input_names=["x"], **options)


IN_PLACE = [  # every other byte stays, so a patch taken back gives the same file
    state_dict, checkpoint, transposed_in_memory, safetensors, gguf, script,
    onnx_raw, onnx_typed, onnx_constants, onnx_unordered,
]  # fmt: skip
ANEW = [legacy, onnx_external]
