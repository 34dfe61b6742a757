"""An ONNX file without source: its last layer as a torch layer, features from ONNX Runtime, patches into the file.

bgd.deployed does this for any ONNX file; here is the little that the packages' own need until it is there.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from onnx import numpy_helper
from torch import nn

from bgd import Patch

BATCH = 250


class OnnxHead:
    """The last MatMul and Add of a graph that ends in a softmax.

    Attributes:
        head: Gives logits (N, C) of features (N, D).
    """

    def __init__(self, path: Path) -> None:
        self.model: Any = onnx.load(path)
        product = [node for node in self.model.graph.node if node.op_type == "MatMul"][-1]
        added = next(node for node in self.model.graph.node if product.output[0] in node.input)
        self._names = product.input[1], next(name for name in added.input if name != product.output[0])
        weight, bias = (self._tensor(name)[1] for name in self._names)
        self.head = nn.Linear(*weight.shape).eval()
        self.head.weight.data = torch.tensor(weight.T.copy())
        self.head.bias.data = torch.tensor(bias.reshape(-1).copy())
        whole = onnx.ModelProto.FromString(self.model.SerializeToString())
        whole.graph.output.append(onnx.helper.make_empty_tensor_value_info(product.input[0]))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            whole.SerializeToString(), options, ["CPUExecutionProvider"]
        )

    def features(self, inputs: np.ndarray[Any, Any]) -> torch.Tensor:
        """Run the graph up to its last layer: features (N, D)."""
        name = self._session.get_inputs()[0].name
        parts = [
            self._session.run(None, {name: inputs[at : at + BATCH]})[-1]
            for at in range(0, len(inputs), BATCH)
        ]
        return torch.tensor(np.concatenate(parts))

    def write(self, patch: Patch, path: Path) -> None:
        """Write the file with a patch of `head`; everything else stays as it is."""
        model = onnx.ModelProto.FromString(self.model.SerializeToString())
        with patch.applied(self.head):
            values = self.head.weight.detach().numpy().T, self.head.bias.detach().numpy()
            for name, new in zip(self._names, values, strict=True):
                tensor, old = self._tensor(name, model)
                tensor.CopyFrom(numpy_helper.from_array(new.reshape(old.shape).copy(), tensor.name))
        path.write_bytes(model.SerializeToString())

    def _tensor(self, name: str, model: Any = None) -> tuple[Any, np.ndarray[Any, Any]]:
        """Find a tensor of the file, an initializer or a Constant node's, with its values."""
        graph = (model or self.model).graph
        nodes = (node for node in graph.node if node.op_type == "Constant" and node.output[0] == name)
        found = next((tensor for tensor in graph.initializer if tensor.name == name), None)
        found = found if found is not None else next(nodes).attribute[0].t
        return found, numpy_helper.to_array(found)
