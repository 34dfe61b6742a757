"""The graph of an ONNX file as it is run: who makes and who reads a value, and the same file with other ends.

Nothing is run here, and large tensors stay in the file's companions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bgd.deployed.packages import needed
from bgd.errors import first_line
from bgd.flat import NetworkError

Proto = Any  # of the onnx package, which is imported when a file needs it

TAPS = ("bgd_features", "bgd_logits")  # names of the outputs that `tapped` adds


class Graph:
    """An ONNX file, its large tensors left where they are.

    Args:
        path: The file.
        proto: What it holds, with other values; None to read it.

    Attributes:
        nodes: Its nodes, in an order in which they can be run.
        makers: By the name of a value, the node that makes it.
        constants: Its initializers and Constant nodes, by name.

    Raises:
        NetworkError: It is no ONNX file.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path, proto: Proto = None) -> None:
        self.path, self._changed = path, proto is not None
        self.proto = _read(path) if proto is None else proto
        self.nodes = list(self.proto.graph.node)
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.constants = {tensor.name: tensor for tensor in self.proto.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t

    @property
    def content(self) -> Path | bytes:
        """The file, or bytes of it with other values."""
        return bytes(self.proto.SerializeToString()) if self._changed else self.path

    def before(self, score: str) -> Iterator[Proto]:
        """Yield the nodes that lead to a value, last ones first."""
        wanted = {score}
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                wanted |= set(_reads(node))
                yield node

    def origin(self, name: str) -> str | None:
        """Return the constant that a value is, maybe turned; None where it is computed."""
        while name not in self.constants:
            node = self.makers.get(name)
            if node is None or node.op_type not in ("Identity", "Transpose"):
                return None
            name = node.input[0]
        return name

    def readers(self, name: str) -> list[Proto | None]:
        """Return the nodes that read a value, and None where the graph gives it out."""
        out: list[Proto | None] = [None for value in self.proto.graph.output if value.name == name]
        return out + [node for node in self.nodes if name in _reads(node)]

    def tapped(self, features: str, logits: str) -> bytes:
        """Return the file with two values, features and logits of its head, as outputs beside its own."""
        twin = self._twin()
        for tap, value in zip(TAPS, (features, logits), strict=True):
            twin.graph.node.append(needed("onnx").helper.make_node("Identity", [value], [tap]))
            twin.graph.output.append(needed("onnx").ValueInfoProto(name=tap))
        return bytes(twin.SerializeToString())

    def cut(self, logits: str, kind: torch.dtype) -> bytes:
        """Return the file with a value, the logits of its head, as an input, so that any may be put in its place."""
        twin, onnx = self._twin(), needed("onnx")
        for node in twin.graph.node:
            for at, name in enumerate(node.output):
                if name == logits:
                    node.output[at] = f"{name}/computed"
        stored = onnx.helper.np_dtype_to_tensor_dtype(torch.empty(0, dtype=kind).numpy().dtype)
        twin.graph.input.append(onnx.helper.make_tensor_value_info(logits, stored, None))
        return bytes(twin.SerializeToString())

    def replaced(self, tensors: dict[str, torch.Tensor]) -> "Graph":
        """Return the graph with other values for some of its constants."""
        graph = Graph(self.path, self._twin())
        for name, value in tensors.items():
            graph.constants[name].CopyFrom(needed("onnx").numpy_helper.from_array(value.numpy(), name))
        return graph

    def companions(self) -> list[Path]:
        """Return the files beside this one that hold its large tensors."""
        places = {
            each.value
            for tensor in self.constants.values()
            for each in tensor.external_data
            if each.key == "location"
        }
        return [self.path.parent / place for place in sorted(places)]

    def fault(self, words: str) -> NetworkError:
        """Return an error that says of which file it is."""
        return NetworkError(f"{self.path}: {words}")

    def _twin(self) -> Proto:
        twin = needed("onnx").ModelProto()
        twin.CopyFrom(self.proto)
        return twin


def _read(path: Path) -> Proto:
    onnx = needed("onnx")
    content = path.read_bytes()
    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf has several, of its own
        raise NetworkError(f"{path} is no ONNX file: {first_line(error)}") from error
    if not proto.graph.node:
        raise NetworkError(f"{path} is no ONNX file: it holds no graph")
    return proto


def _reads(node: Proto) -> Iterator[str]:
    """Yield the values that a node reads, those of the graphs inside it included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from (value.name for value in graph.output)
            for inner in graph.node:
                yield from _reads(inner)


def name_of(node: Proto) -> str:
    """Operator and name of a node, or that of its first output where it has none."""
    return f"{node.op_type} {node.name or node.output[0]!r}"
