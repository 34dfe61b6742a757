"""The head of an ONNX graph: the last MatMul or Gemm before the scores, and the constants of the file that it reads.

It is found without running anything. Whether the scores are those of the head is for whoever runs the graph to see
(`bgd.deployed.onnx_head`): an exporter may write a softmax as seven operators, so names of operators say little.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from bgd.deployed.packages import needed
from bgd.errors import first_line, nearest
from bgd.flat import NetworkError

Proto = Any  # of the onnx package, which is imported when a file needs it

PRODUCTS = ("MatMul", "Gemm")
ENDS = ("Conv", "Einsum", "ConvTranspose")  # may give scores too, and are no product of rows with a matrix
QUANTISED = ("DequantizeLinear", "MatMulInteger", "QLinearMatMul", "QGemm", "MatMulNBits", "MatMulBnb4")
TAPS = ("bgd_features", "bgd_logits")  # names of the outputs that `tapped` adds


@dataclass(frozen=True, eq=False)
class Stored:
    """A constant of the file that the head reads.

    Attributes:
        name: Of the initializer, or of the output of the Constant node.
        value: As it is in the file.
        transposed: Whether the graph turns it before use.
    """

    name: str
    value: torch.Tensor
    transposed: bool = False


@dataclass(frozen=True, eq=False)
class GraphHead:
    """The last product of a graph.

    Attributes:
        node: Its name, for messages.
        features: Name of the value that goes in, (N, D), or (N, T, D) with a row a token.
        logits: Name of the value after product and bias, (N, C) or (N, T, C).
        scores: Name of the output of the graph that is made of it.
        weight: The matrix; (D, C) in the file unless `by_class`.
        by_class: Whether the file has a row a class, (C, D).
        bias: The constant that is added, C numbers; None for none.
    """

    node: str
    features: str
    logits: str
    scores: str
    weight: Stored
    by_class: bool
    bias: Stored | None


class Graph:
    """An ONNX file, its large tensors left where they are.

    Args:
        path: The file.

    Raises:
        NetworkError: It is no ONNX file.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path, proto: Proto = None) -> None:
        self.path, self._changed = path, proto is not None
        self.proto = _read(path) if proto is None else proto
        self._nodes = list(self.proto.graph.node)
        self._makers = {name: node for node in self._nodes for name in node.output if name}
        self._constants = {tensor.name: tensor for tensor in self.proto.graph.initializer}
        for node in self._nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t

    @property
    def content(self) -> Path | bytes:
        """The file, or bytes of it with other values."""
        return bytes(self.proto.SerializeToString()) if self._changed else self.path

    def head(self, wanted: str | None = None) -> GraphHead:
        """Find the last product before the scores.

        Args:
            wanted: Another one: the name of its node, of its weight or of its output.

        Raises:
            NetworkError: The graph has none, or not one whose weight and bias may be changed for it alone.
        """
        scores = [
            value.name for value in self.proto.graph.output if value.type.tensor_type.elem_type in _floats()
        ]
        if not scores:
            raise self.fault("none of its outputs holds real numbers: it gives no scores of classes")
        if wanted is None:
            return self._made(self._last(scores[0]), scores[0])
        for score in scores:
            for node in self._before(score):
                if node.op_type in PRODUCTS and wanted in (node.name, *node.input, *node.output):
                    return self._made(node, score)
        known = {
            name for each in self._nodes if each.op_type in PRODUCTS for name in (each.name, *each.output)
        }
        raise NetworkError(
            f"head={wanted!r}: no MatMul or Gemm before the scores; {nearest(wanted, known - {''})}"
        )

    def tapped(self, head: GraphHead) -> bytes:
        """Return the file with features and logits of a head as outputs beside its own."""
        twin = self._twin()
        for tap, value in zip(TAPS, (head.features, head.logits), strict=True):
            twin.graph.node.append(needed("onnx").helper.make_node("Identity", [value], [tap]))
            twin.graph.output.append(needed("onnx").ValueInfoProto(name=tap))
        return bytes(twin.SerializeToString())

    def cut(self, head: GraphHead) -> bytes:
        """Return the file with the logits of a head as an input, so that any may be put in their place."""
        twin, onnx = self._twin(), needed("onnx")
        for node in twin.graph.node:
            for at, name in enumerate(node.output):
                if name == head.logits:
                    node.output[at] = f"{name}/computed"
        kind = onnx.helper.np_dtype_to_tensor_dtype(head.weight.value.numpy().dtype)
        twin.graph.input.append(onnx.helper.make_tensor_value_info(head.logits, kind, None))
        return bytes(twin.SerializeToString())

    def replaced(self, tensors: dict[str, torch.Tensor]) -> "Graph":
        """Return the graph with other values for some of its constants."""
        graph = Graph(self.path, self._twin())
        for name, value in tensors.items():
            graph._constants[name].CopyFrom(needed("onnx").numpy_helper.from_array(value.numpy(), name))
        return graph

    def companions(self) -> list[Path]:
        """Return the files beside this one that hold its large tensors."""
        places = {
            each.value
            for tensor in self._constants.values()
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

    def _before(self, score: str) -> Iterator[Proto]:
        """Yield the nodes that lead to a value, last ones first."""
        wanted = {score}
        for node in reversed(self._nodes):
            if wanted & set(node.output):
                wanted |= set(_reads(node))
                yield node

    def _last(self, score: str) -> Proto:
        """Return the last product that leads to the scores, or say why there is none."""
        for node in self._before(score):
            if node.op_type in PRODUCTS:
                return node
            if node.op_type in QUANTISED:
                raise self.fault(f"{_name(node)} before the scores is quantised: {_INSTEAD}")
            if node.op_type in ENDS:
                raise self.fault(
                    f"the scores come from {_name(node)}, and no MatMul or Gemm follows: there is no "
                    "head of one weight a class and feature; correct the network from its source"
                )
        raise self.fault(
            f"no MatMul or Gemm leads to {score!r}; its operators are "
            f"{', '.join(sorted({node.op_type for node in self._nodes}))}"
        )

    def _made(self, node: Proto, score: str) -> GraphHead:
        """Return the head that a product is, with the bias that is added to it."""
        options = {each.name: needed("onnx").helper.get_attribute_value(each) for each in node.attribute}
        for key, plain in (("transA", 0), ("alpha", 1.0), ("beta", 1.0)):
            if options.get(key, plain) != plain:
                raise self.fault(f"{_name(node)} has {key}={options[key]}, and {plain} alone is taken")
        features, matrix, *rest = node.input
        if self._origin(features):
            raise self.fault(f"{_name(node)} has its weight on the left: no row of features a sample")
        weight = self._constant(matrix, node, "weight")
        if weight.value.dim() != 2:
            shape = tuple(weight.value.shape)
            raise self.fault(
                f"the weight {weight.name!r} of {_name(node)} has the shape {shape}, not two sides"
            )
        by_class = bool(options.get("transB", 0)) != weight.transposed
        classes = weight.value.shape[0 if by_class else 1]
        logits, bias = node.output[0], None
        if rest and rest[0]:
            bias = self._bias(rest[0], node, classes)
        elif added := self._added(logits, classes):
            bias, logits = self._bias(added[0], added[1], classes), added[1].output[0]
        return GraphHead(_name(node), features, logits, score, weight, by_class, bias)

    def _bias(self, name: str, reader: Proto, classes: int) -> Stored:
        bias = self._constant(name, reader, "bias")
        if prod(bias.value.shape) != classes or bias.value.shape[-1:] != (classes,):
            shape = tuple(bias.value.shape)
            raise self.fault(
                f"the bias {bias.name!r} has the shape {shape}, not one number a class, ({classes},)"
            )
        return bias

    def _added(self, product: str, classes: int) -> tuple[str, Proto] | None:
        """Return the constant, a number a class, that is added to a product, and the node that adds it."""
        readers = self._readers(product)
        if len(readers) != 1 or readers[0] is None or readers[0].op_type != "Add":
            return None
        other = next((name for name in readers[0].input if name != product), product)
        origin = self._origin(other)
        shape = tuple(self._constants[origin].dims) if origin else ()
        return (other, readers[0]) if prod(shape) == classes and shape[-1:] == (classes,) else None

    def _origin(self, name: str) -> str | None:
        """Return the constant that a value is, maybe turned; None where it is computed."""
        while name not in self._constants:
            node = self._makers.get(name)
            if node is None or node.op_type not in ("Identity", "Transpose"):
                return None
            name = node.input[0]
        return name

    def _constant(self, name: str, reader: Proto, role: str) -> Stored:
        """Return a constant that one node reads.

        Raises:
            NetworkError: It is computed, quantised, no plain number, or read by others too.
        """
        transposed = False
        while True:
            others = [each for each in self._readers(name) if each is not reader]
            if others:
                who = _name(others[0]) if others[0] is not None else "an output of the graph"
                raise self.fault(
                    f"the {role} {name!r} of the head is also read by {who}: a change would be one of both"
                )
            if name in self._constants:
                break
            node = self._makers.get(name)
            if node is not None and node.op_type in QUANTISED:
                raise self.fault(f"the {role} {name!r} of the head is quantised: {_INSTEAD}")
            if node is None or node.op_type not in ("Identity", "Transpose"):
                by = "an input of the graph" if node is None else f"computed by {_name(node)}"
                raise self.fault(f"the {role} {name!r} of the head is {by}: a patch changes constants alone")
            transposed ^= node.op_type == "Transpose"
            name, reader = node.input[0], node
        array = needed("onnx").numpy_helper.to_array(self._constants[name], str(self.path.parent))
        if array.dtype.kind != "f":
            raise self.fault(
                f"the {role} {name!r} of the head is {array.dtype}: only real numbers can be corrected"
            )
        return Stored(name, torch.from_numpy(array.copy()), transposed)

    def _readers(self, name: str) -> list[Proto | None]:
        """Return the nodes that read a value, and None where the graph gives it out."""
        out: list[Proto | None] = [None for value in self.proto.graph.output if value.name == name]
        return out + [node for node in self._nodes if name in _reads(node)]


_INSTEAD = "correct the network that it was made from, and quantise that"


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


def _name(node: Proto) -> str:
    return f"{node.op_type} {node.name or node.output[0]!r}"


def _floats() -> tuple[int, ...]:
    kinds = needed("onnx").TensorProto
    return kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE
