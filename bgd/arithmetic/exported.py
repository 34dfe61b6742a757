"""A network in ONNX Runtime, in float32 or quantized to 8 bits: exported once, then changed tensor by tensor."""

import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from bgd.arithmetic.twin import UnavailableError, refused
from bgd.flat import private_copy

INPUT, OUTPUT = "input", "logits"
PACKAGES = {"onnx": "bgd[onnx]", "onnxruntime": "bgd[onnx]", "onnxscript": "onnxscript"}


class Exported:
    """A network as an ONNX model, run by ONNX Runtime on the CPU, one input at a time, as a service runs it.

    The exporter leaves parameters as they are and ONNX Runtime does with them what it does to any model. Changed
    tensors are written into the model, and a session is made of it: `SessionOptions.add_initializer` would spare that,
    but does not reach a weight that ONNX Runtime fuses with the layer after it. Where the model does not hold a
    parameter by its name and value, a change of it exports the network again.

    Args:
        network: Left as it is; in float32, or made so.
        image: An input (1, ...) to trace it with.
        quantized: Whether weights and what goes into layers have 8 bits, by ONNX Runtime's dynamic quantization with
            one scale a tensor.
        like: One of the same network, whatever it has been changed to since: its export is taken over.
    """

    def __init__(
        self, network: nn.Module, image: torch.Tensor, quantized: bool, like: "Exported | None" = None
    ) -> None:
        self._arithmetic = "onnxruntime_int8" if quantized else "onnxruntime"
        self._packages = {name: _package(name, self._arithmetic) for name in PACKAGES}
        self._network = private_copy(network).to("cpu", torch.float32).eval()
        self._parameters = dict(self._network.named_parameters())
        self._image, self._quantized = self._typed(image), quantized
        self._session: Any = None
        self._model: Any = None  # where there is none, the network has changed beyond it
        if like is not None and like._held == set(self._parameters):
            self._start(copy.deepcopy(like._float), like._held)
        else:
            self._start(self._exported())

    @torch.no_grad()
    def write(self, name: str, values: torch.Tensor) -> None:
        """Take over a parameter's values; see `Runtime.write`."""
        self._parameters[name].copy_(values)
        self._session = None
        if name in self._held:
            self._changed.add(name)
        else:
            self._model = None

    def outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, C); see `Runtime.outputs`.

        Raises:
            UnavailableError: ONNX Runtime does not run the model.
        """
        with refused(self._arithmetic):
            if self._model is None:
                self._start(self._exported())
            if self._session is None:
                self._session = self._opened()
            given = self._typed(inputs).numpy()
            found = [self._session.run([OUTPUT], {INPUT: given[at : at + 1]})[0] for at in range(len(given))]
        return torch.from_numpy(np.concatenate(found)).to(inputs.device)

    def _typed(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.to("cpu", torch.float32 if inputs.is_floating_point() else inputs.dtype)

    def _exported(self) -> Any:
        """Return the network as it is as an ONNX model."""
        with refused(self._arithmetic), _silenced(), _plain_switches():
            program = torch.onnx.export(
                nn.Sequential(self._network),  # the exporter does without the call of the outermost class
                (self._image,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamo=True,
                optimize=False,  # BatchNorm stays apart, and parameters keep their values
                verbose=False,
            )
        assert program is not None
        return program.model_proto

    def _start(self, model: Any, held: Collection[str] = ()) -> None:
        """Go on from a model of the network, or of one that differs in what parameters hold.

        Args:
            model: With the parameters in it.
            held: Names of those that it is known to hold; by default those whose values it has.
        """
        helper = self._packages["onnx"].numpy_helper
        stored = {each.name.removeprefix("0."): each for each in model.graph.initializer}
        same = {
            name
            for name, parameter in self._parameters.items()
            if name in stored and np.array_equal(helper.to_array(stored[name]), parameter.detach().numpy())
        }
        self._held = set(held) or same
        self._changed = self._held - same
        self._float = model
        with refused(self._arithmetic), _silenced():
            self._model = self._in_8_bits(model) if self._quantized else model
        self._initializers = {each.name: each for each in self._model.graph.initializer}
        self._session = None

    def _opened(self) -> Any:
        """Return a session of the model with the changed tensors in it."""
        for name, values in self._new_values().items():
            self._initializers[name].CopyFrom(self._packages["onnx"].numpy_helper.from_array(values, name))
        runtime = self._packages["onnxruntime"]
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        model = self._model.SerializeToString()
        return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def _new_values(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the values of the model's initializers that the changed parameters are in, by name."""
        plain = {f"0.{name}": self._parameters[name].detach().numpy() for name in sorted(self._changed)}
        if not plain or not self._quantized:
            return plain
        helper = self._packages["onnx"].numpy_helper
        with _silenced():
            part = self._in_8_bits(self._readers_of(plain))
        return {each.name: np.asarray(helper.to_array(each)) for each in part.graph.initializer}

    def _readers_of(self, values: dict[str, np.ndarray[Any, Any]]) -> Any:
        """Return a model of nothing but the nodes that read some initializers, which have these values."""
        onnx, graph = self._packages["onnx"], self._float.graph
        nodes = [node for node in graph.node if set(values) & set(node.input)]
        stored = {each.name: each for each in graph.initializer}
        named = {name for node in nodes for name in node.input if name}
        initializers = [
            onnx.numpy_helper.from_array(values[name], name) if name in values else stored[name]
            for name in sorted(named & set(stored))
        ]
        made = {name for node in nodes for name in node.output if name}
        value = onnx.helper.make_tensor_value_info
        kind = onnx.TensorProto.FLOAT
        inputs = [value(name, kind, None) for name in sorted(named - set(stored) - made)]
        outputs = [value(name, kind, None) for name in sorted(made)]
        part = onnx.helper.make_graph(nodes, "part", inputs, outputs, initializers)
        return onnx.helper.make_model(
            part, opset_imports=self._float.opset_import, ir_version=self._float.ir_version
        )

    def _in_8_bits(self, model: Any) -> Any:
        """Return a model as ONNX Runtime quantizes it."""
        quantization = import_module("onnxruntime.quantization")
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "quantized.onnx")
            quantization.quantize_dynamic(model, path)
            return self._packages["onnx"].load(path)


def _package(name: str, arithmetic: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise UnavailableError(
            f"{arithmetic}: {name} is not installed: pip install {PACKAGES[name]!r}"
        ) from None


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep exporter and quantizer from writing to the console inside the block."""
    root, level = logging.getLogger(), logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        root.manager.disable = logging.WARNING
        try:
            yield
        finally:
            root.manager.disable = level


@contextmanager
def _plain_switches() -> Iterator[None]:
    """Let the exporter read and write the older switches of TF32 inside the block, and undo what that does.

    Where the newer ones forbid TF32, reading the older may be an error, and writing them undoes the newer.
    """
    switches = [torch.backends.cudnn.conv, torch.backends.cudnn.rnn]  # type: ignore[attr-defined]
    before = [each.fp32_precision for each in switches]
    try:
        if not _readable():
            torch.backends.cudnn.allow_tf32 = False  # makes older and newer ones agree
        yield
    finally:
        for each, precision in zip(switches, before, strict=True):
            if each.fp32_precision != precision:
                each.fp32_precision = precision


def _readable() -> bool:
    try:
        return torch.backends.cudnn.allow_tf32 in (True, False)
    except RuntimeError:
        return False
