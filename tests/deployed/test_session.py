"""A running ONNX Runtime session with a patch says what one of the patched file says."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from model_files import (
    exported_onnx,
    graph,
    network,
    onnx_constants,
    onnx_external,
    onnx_raw,
    onnx_typed,
    onnx_unordered,
    patch_of,
    safetensors,
)

from bgd.deployed import FormatError, apply_to_file, session
from bgd.patch import PatchError

CHANGES = {"3.weight": {5: 2.5, 20: -1.0}, "3.bias": {0: 4.0}, "0.weight": {3: 1.5}}
INPUTS = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def outputs(running):
    return running.run(None, {"x": INPUTS.numpy()})[0]


def as_inputs(module, path):
    """Initializers that are inputs of the graph as well: their values are defaults."""
    model = graph(module)
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, 1, tensor.dims))
    onnx.save(model, path)


def transposed(module, path):
    onnx.save(graph(module, transposed=True, prefix="onnx::"), path)


@pytest.mark.parametrize(
    "write", [onnx_raw, onnx_typed, onnx_constants, onnx_external, onnx_unordered, as_inputs, transposed]
)
def test_a_session_with_a_patch_is_one_of_the_patched_file(write, tmp_path):
    module, patch, path = network(), patch_of(network(), CHANGES), tmp_path / "m.onnx"
    write(module, path)
    kept = {each: each.read_bytes() for each in tmp_path.iterdir()}
    running = session(
        path, patch, threads=1
    )  # put over the file's by add_initializer, these would be ignored
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == kept
    found = outputs(running)
    apply_to_file(patch, path, tmp_path / "out.onnx")
    plain = onnxruntime.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    assert np.array_equal(found, outputs(plain))
    assert not np.array_equal(found, outputs(session(path, threads=1)))
    with torch.no_grad(), patch.applied(module):
        torch.testing.assert_close(torch.from_numpy(found), module(INPUTS), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [True, False])
def test_a_file_of_the_exporter_takes_the_linear_layer_and_not_the_folded_convolution(dynamo, tmp_path):
    module, path = network(), tmp_path / "m.onnx"
    module[1].running_mean += 0.5
    exported_onnx(module, path, dynamo)
    patch = patch_of(module, {"3.weight": {5: 2.5}})
    found = session(path, patch).run(None, {"x": INPUTS[:1].numpy()})[0]
    with torch.no_grad(), patch.applied(module):
        torch.testing.assert_close(torch.from_numpy(found), module(INPUTS[:1]), atol=1e-5, rtol=1e-5)
    for name in ("0.weight", "1.weight"):
        with pytest.raises(PatchError, match=f"{name} is not in .* by value"):
            apply_to_file(patch_of(module, {name: {1: 0.5}}), path, tmp_path / "none.onnx")


def test_what_no_session_can_hold_is_refused(tmp_path):
    safetensors(network(), tmp_path / "m")
    patch = patch_of(network(), CHANGES)
    with pytest.raises(FormatError, match="is safetensors, and ONNX Runtime runs ONNX files"):
        session(tmp_path / "m", patch)
    onnx_raw(torch.nn.Sequential(*list(network())[:3], torch.nn.Linear(8, 3)), tmp_path / "other.onnx")
    with pytest.raises(PatchError, match=r"3\.weight is not in"):
        session(tmp_path / "other.onnx", patch)
