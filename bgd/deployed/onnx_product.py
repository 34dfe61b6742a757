"""The head of an ONNX graph: the last MatMul or Gemm before the scores, and the constants of the file that it reads.

It is found without running anything. Whether the scores are those of the head is for whoever runs the graph to see
(`bgd.deployed.onnx_head`): an exporter may write a softmax as seven operators, so names of operators say little.
"""

from dataclasses import dataclass
from math import prod

import torch

from bgd.deployed.onnx_graph import Graph, Proto, name_of
from bgd.deployed.packages import needed
from bgd.errors import nearest
from bgd.flat import NetworkError

PRODUCTS = ("MatMul", "Gemm")
ENDS = ("Conv", "Einsum", "ConvTranspose")  # may give scores too, and are no product of rows with a matrix
QUANTISED = ("DequantizeLinear", "MatMulInteger", "QLinearMatMul", "QGemm", "MatMulNBits", "MatMulBnb4")
INSTEAD = "correct the network that it was made from, and quantise that"


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


def head_of(graph: Graph, wanted: str | None = None) -> GraphHead:
    """Find the last product before the scores.

    Args:
        graph: The file.
        wanted: Another product: the name of its node, of its weight or of its output.

    Raises:
        NetworkError: The graph has none, or not one whose weight and bias may be changed for it alone.
    """
    kinds = needed("onnx").TensorProto
    floats = (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE)
    scores = [value.name for value in graph.proto.graph.output if value.type.tensor_type.elem_type in floats]
    if not scores:
        raise graph.fault("none of its outputs holds real numbers: it gives no scores of classes")
    if wanted is None:
        return _made(graph, _last(graph, scores[0]), scores[0])
    for score in scores:
        for node in graph.before(score):
            if node.op_type in PRODUCTS and wanted in (node.name, *node.input, *node.output):
                return _made(graph, node, score)
    known = {name for each in graph.nodes if each.op_type in PRODUCTS for name in (each.name, *each.output)}
    raise NetworkError(
        f"head={wanted!r}: no MatMul or Gemm before the scores; {nearest(wanted, known - {''})}"
    )


def _last(graph: Graph, score: str) -> Proto:
    """Return the last product that leads to the scores, or say why there is none."""
    hiding = _functions(graph)
    for node in graph.before(score):
        if node.op_type in PRODUCTS:
            return node
        if node.op_type in QUANTISED:
            raise graph.fault(f"{name_of(node)} before the scores is quantised: {INSTEAD}")
        if node.op_type in ENDS:
            raise graph.fault(
                f"the scores come from {name_of(node)}, and no MatMul or Gemm follows: there is no "
                "head of one weight a class and feature; correct the network from its source"
            )
        if (node.domain, node.op_type) in hiding:
            raise graph.fault(
                f"the scores come from {name_of(node)}, a function of the model: give the model that "
                "onnx.inliner.inline_local_functions makes of it"
            )
    raise graph.fault(
        f"no MatMul or Gemm leads to {score!r}; its operators are "
        f"{', '.join(sorted({node.op_type for node in graph.nodes}))}"
    )


def _functions(graph: Graph) -> set[tuple[str, str]]:
    """Return the functions of the model, by domain and name, that have a product inside, or call one that has."""
    hiding: set[tuple[str, str]] = set()
    for _ in graph.proto.functions:
        for each in graph.proto.functions:
            inside = {(node.domain, node.op_type) for node in each.node}
            if inside & hiding or {kind for _, kind in inside} & {*PRODUCTS, *ENDS, *QUANTISED}:
                hiding.add((each.domain, each.name))
    return hiding


def _made(graph: Graph, node: Proto, score: str) -> GraphHead:
    """Return the head that a product is, with the bias that is added to it."""
    options = {each.name: needed("onnx").helper.get_attribute_value(each) for each in node.attribute}
    for key, plain in (("transA", 0), ("alpha", 1.0), ("beta", 1.0)):
        if options.get(key, plain) != plain:
            raise graph.fault(f"{name_of(node)} has {key}={options[key]}, and {plain} alone is taken")
    features, matrix, *rest = node.input
    if graph.origin(features):
        raise graph.fault(f"{name_of(node)} has its weight on the left: no row of features a sample")
    weight = _constant(graph, matrix, node, "weight")
    if weight.value.dim() != 2:
        shape = tuple(weight.value.shape)
        raise graph.fault(
            f"the weight {weight.name!r} of {name_of(node)} has the shape {shape}, not two sides"
        )
    by_class = bool(options.get("transB", 0)) != weight.transposed
    classes = weight.value.shape[0 if by_class else 1]
    logits, bias = node.output[0], None
    if rest and rest[0]:
        bias = _bias(graph, rest[0], node, classes)
    elif added := _added(graph, logits, classes):
        bias, logits = _bias(graph, *added, classes), added[1].output[0]
    return GraphHead(name_of(node), features, logits, score, weight, by_class, bias)


def _bias(graph: Graph, name: str, reader: Proto, classes: int) -> Stored:
    bias = _constant(graph, name, reader, "bias")
    if prod(bias.value.shape) != classes or bias.value.shape[-1:] != (classes,):
        shape = tuple(bias.value.shape)
        raise graph.fault(
            f"the bias {bias.name!r} has the shape {shape}, not one number a class, ({classes},)"
        )
    return bias


def _added(graph: Graph, product: str, classes: int) -> tuple[str, Proto] | None:
    """Return the constant, a number a class, that is added to a product, and the node that adds it."""
    readers = graph.readers(product)
    if len(readers) != 1 or readers[0] is None or readers[0].op_type != "Add":
        return None
    other = next((name for name in readers[0].input if name != product), product)
    origin = graph.origin(other)
    shape = tuple(graph.constants[origin].dims) if origin else ()
    return (other, readers[0]) if prod(shape) == classes and shape[-1:] == (classes,) else None


def _constant(graph: Graph, name: str, reader: Proto, role: str) -> Stored:
    """Return a constant that one node reads.

    Raises:
        NetworkError: It is computed, quantised, no plain number, or read by others too.
    """
    transposed = False
    while True:
        others = [each for each in graph.readers(name) if each is not reader]
        if others:
            who = name_of(others[0]) if others[0] is not None else "an output of the graph"
            raise graph.fault(
                f"the {role} {name!r} of the head is also read by {who}: a change would be one of both"
            )
        if name in graph.constants:
            break
        node = graph.makers.get(name)
        if node is not None and node.op_type in QUANTISED:
            raise graph.fault(f"the {role} {name!r} of the head is quantised: {INSTEAD}")
        if node is None or node.op_type not in ("Identity", "Transpose"):
            by = "an input of the graph" if node is None else f"computed by {name_of(node)}"
            raise graph.fault(f"the {role} {name!r} of the head is {by}: a patch changes constants alone")
        transposed ^= node.op_type == "Transpose"
        name, reader = node.input[0], node
    array = needed("onnx").numpy_helper.to_array(graph.constants[name], str(graph.path.parent))
    if array.dtype.kind != "f":
        raise graph.fault(
            f"the {role} {name!r} of the head is {array.dtype}: only real numbers can be corrected"
        )
    return Stored(name, torch.from_numpy(array.copy()), transposed)
