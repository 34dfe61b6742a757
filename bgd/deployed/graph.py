"""The graph of an ONNX model as onnx reads it: where tensors may be, their names, and the nodes that use them."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bgd.patch.container import brief
from bgd.patch.parts import bits

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Slot:
    """A place of a graph where a tensor may be: an initializer, or an attribute of a node."""

    name: str
    item: "onnx.TensorProto | onnx.AttributeProto"
    users: tuple["onnx.NodeProto | str", ...] = ()

    @property
    def tensor(self) -> "onnx.TensorProto | None":
        """The tensor as a message of its own; a Constant node may have plain floats instead."""
        if not hasattr(self.item, "t"):
            return self.item
        return self.item.t if self.item.name == "value" else None


def named(model: "onnx.ModelProto") -> "dict[str, onnx.TensorProto]":
    """Return the messages of the tensors of a graph by name."""
    return {
        slot.name: slot.tensor for slot in slots(model.graph, "") if slot.name and slot.tensor is not None
    }


def check_text(message: Any) -> None:
    """Refuse a message with a text that is no UTF-8: protobuf gives the bytes of such a one.

    Raises:
        ValueError: Shows it.
    """
    for descriptor, value in message.ListFields():
        several = [value] if isinstance(value, str | bytes) or hasattr(value, "ListFields") else value
        if descriptor.type == descriptor.TYPE_MESSAGE:
            for each in several:
                check_text(each)
        elif descriptor.type == descriptor.TYPE_STRING and not all(isinstance(each, str) for each in several):
            raise ValueError(f"its {descriptor.name} {brief(value)} is no text")


def tensors(message: Any) -> "Iterator[onnx.TensorProto]":
    """Give every tensor in a message, however deep."""
    for descriptor, value in message.ListFields():
        if descriptor.type != descriptor.TYPE_MESSAGE:
            continue
        for each in [value] if hasattr(value, "ListFields") else value:
            if hasattr(each, "raw_data"):
                yield each
            else:
                yield from tensors(each)


def embed(proto: "onnx.TensorProto", tensor: torch.Tensor) -> None:
    """Put the numbers of a tensor into its message as raw bytes."""
    for name in ("external_data", "data_location", "int32_data", "float_data", "double_data"):
        proto.ClearField(name)
    values = bits(tensor.contiguous().view(-1)).numpy()
    proto.raw_data = (values if sys.byteorder == "little" else values.byteswap()).tobytes()


def label(node: "onnx.NodeProto") -> str:
    """Name of a node, or of its first output where it has none."""
    return node.name or next(iter(node.output), node.op_type)


def slots(graph: "onnx.GraphProto", prefix: str) -> Iterator[Slot]:
    """Give the slots of a graph: initializers, then attributes node by node. A slot without a name holds no tensor."""
    users = _users(graph)
    for tensor in graph.initializer:
        yield Slot(prefix + tensor.name, tensor, tuple(users[tensor.name]))
    for node in graph.node:
        for attribute in node.attribute:
            constant = node.op_type == "Constant" and attribute.name in (
                "value",
                "value_float",
                "value_floats",
            )
            output = next(iter(node.output), "") if constant else ""
            yield Slot(prefix + output if output else "", attribute, tuple(users[output]) if output else ())
            for at, body in enumerate(bodies(attribute)):
                number = f".{at}" if at else ""
                yield from slots(body, f"{prefix}{label(node)}/{attribute.name}{number}/")


def bodies(attribute: "onnx.AttributeProto") -> "list[onnx.GraphProto]":
    """Return the subgraphs in an attribute, as of an If or a Loop."""
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _users(graph: "onnx.GraphProto") -> "dict[str, list[onnx.NodeProto | str]]":
    """Return the nodes that read each tensor, those of subgraphs too, and the outputs of the graph that are one."""
    users: dict[str, list[onnx.NodeProto | str]] = defaultdict(list)
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            users[name].append(node)
        for attribute in node.attribute:
            for body in bodies(attribute):
                for name, inner in _users(body).items():
                    users[name] += inner
    for output in graph.output:
        users[output.name].append(f"the output {output.name}")
    return users


def sparse(graph: "onnx.GraphProto", prefix: str) -> Iterator[str]:
    """Give the names of the tensors of a graph that are sparse."""
    yield from (prefix + tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "sparse_value" and node.op_type == "Constant":
                yield prefix + next(iter(node.output), label(node))


def in_functions(model: "onnx.ModelProto") -> Iterator[str]:
    """Give the names of the tensors inside the functions of a model, behind the function's."""
    for function in model.functions:
        body = type(model.graph)(node=function.node)
        for slot in slots(body, f"{function.name}/"):
            if slot.name and slot.tensor is not None and slot.tensor.dims:
                yield slot.name
