"""A patch finds its tensors in a file by value, or is refused in a sentence that says what to do."""

import dataclasses
import re
import warnings

import numpy as np
import onnx
import onnx.inliner
import pytest
import torch
from model_files import gguf, graph, network, onnx_raw, patch_of, safetensors, script, state_dict
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from bgd import rng
from bgd.deployed import FormatError, apply_to_file, carried, open_tensors, verify_file
from bgd.patch import Patch, PatchError

WEIGHT = {"3.weight": {5: 2.5, 23: -1.0}}


def sentence(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_linear_layer_is_found_transposed_under_another_name(tmp_path):
    onnx.save(graph(network(), transposed=True, prefix="onnx::"), tmp_path / "m.onnx")
    patch = patch_of(network(), WEIGHT)
    found = apply_to_file(patch, tmp_path / "m.onnx", tmp_path / "out.onnx")
    assert found.names == {"3.weight": ("onnx::3.weight", True)}
    assert found.renamed == {"3.weight": "onnx::3.weight"}
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "out.onnx").graph.initializer}
    wanted = network()
    patch.apply_(wanted)
    assert np.array_equal(stored["onnx::3.weight"].T, wanted[3].weight.detach().numpy())
    again = apply_to_file(
        found.patch, tmp_path / "m.onnx", tmp_path / "again.onnx"
    )  # in the file's own names
    assert again.names == {"onnx::3.weight": ("onnx::3.weight", False)}
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "out.onnx").read_bytes()
    apply_to_file(found.patch, tmp_path / "out.onnx", tmp_path / "back.onnx", revert=True)
    assert (tmp_path / "back.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


@pytest.mark.parametrize("seed", range(10))
def test_by_value_it_is_the_tensor_that_an_obvious_search_finds(seed, tmp_path):
    """Any names, any order, transposed or not, among tensors that agree at most of the patch's places."""
    stream = rng.stream(seed, "carry")
    weight = torch.from_numpy(stream.standard_normal((4, 6))).float()
    module = nn.ParameterDict({"w": nn.Parameter(weight)})
    places = stream.choice(24, 5, replace=False).tolist()
    patch = patch_of(module, {"w": {at: 9.0 for at in places}}, hashed=False)
    tensors = {}
    for at in range(6):
        near = weight.clone()
        near.view(-1)[places[at % 5]] += 1.0
        tensors[f"t{at}"] = near.T.contiguous() if stream.random() < 0.5 else near
    tensors["own"] = weight.T.contiguous() if seed % 2 else weight
    order = stream.permutation(sorted(tensors)).tolist()
    save_file({f"{name}.x": tensors[name] for name in order}, tmp_path / "m")
    found = apply_to_file(patch, tmp_path / "m", tmp_path / "out")
    assert found.names == {"w": ("own.x", bool(seed % 2))}
    patched = weight.clone()
    patched.view(-1)[torch.tensor(places)] = 9.0
    after = open_tensors(tmp_path / "out").tensor("own.x")
    assert torch.equal(after.T if seed % 2 else after, patched)


def test_equal_values_at_the_places_alone_are_told_apart_by_the_whole_tensor(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3)
    other = weight.clone()
    other[1, 2] = 7.0
    module = nn.ParameterDict({"w": nn.Parameter(weight)})
    save_file({"a": other, "b": weight.clone()}, tmp_path / "m")
    with pytest.raises(PatchError, match="may be any of 2 tensors") as error:
        apply_to_file(patch_of(module, {"w": {0: 1.0}}, hashed=False), tmp_path / "m", tmp_path / "out")
    assert "saved with its base" in sentence(error)
    patch = patch_of(module, {"w": {0: 1.0}})
    found = apply_to_file(patch, tmp_path / "m", tmp_path / "out")
    assert found.names == {"w": ("b", False)}
    assert found.patch.hashes == {"b": patch.hashes["w"]}
    apply_to_file(patch, tmp_path / "out", tmp_path / "back", revert=True)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "m").read_bytes()


def test_on_the_diagonal_of_its_own_tensor_a_patch_is_not_transposed(tmp_path):
    module = nn.ParameterDict({"w": nn.Parameter(torch.arange(9.0).reshape(3, 3))})
    patch = patch_of(module, {"w": {0: 5.0, 8: 1.0}}, hashed=False)
    safetensors(module, tmp_path / "m")
    assert apply_to_file(patch, tmp_path / "m", tmp_path / "out").names == {"w": ("w", False)}
    save_file({"other": module["w"].detach()}, tmp_path / "renamed")
    with pytest.raises(PatchError, match=r"may be any of 2 tensors of .*, other, other \(transposed\)"):
        apply_to_file(patch, tmp_path / "renamed", tmp_path / "none")


def test_patches_of_one_base_are_written_in_turn_and_the_first_is_taken_back(tmp_path):
    module = network()
    state_dict(module, tmp_path / "base")
    first, second = patch_of(module, {"3.weight": {0: 1.0}}), patch_of(module, {"3.weight": {9: 2.0}})
    apply_to_file(first, tmp_path / "base", tmp_path / "one")
    with pytest.raises(PatchError, match="by SHA-256"):
        apply_to_file(second, tmp_path / "one", tmp_path / "two")
    apply_to_file(second, tmp_path / "one", tmp_path / "two", strict=False)
    apply_to_file(first, tmp_path / "two", tmp_path / "back", revert=True)
    assert verify_file(second, tmp_path / "back").state == "patched"
    verdict = verify_file(first, tmp_path / "back")
    assert (verdict.state, "by SHA-256" in verdict.reason) == ("neither", True)


def test_names_that_torch_ties_change_together(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(3, 2), nn.Linear(2, 3, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, x):
            return self.head(self.embedding(x))

    module = Tied()
    patch = patch_of(module, {"embedding.weight": {1: 5.0}})
    for write in (state_dict, script):
        write(module, tmp_path / "m")
        found = apply_to_file(patch, tmp_path / "m", tmp_path / "out", overwrite=True)
        assert found.shared == {"embedding.weight": ("head.weight",)}
        file = open_tensors(tmp_path / "out")
        assert torch.equal(file.tensor("head.weight"), file.tensor("embedding.weight"))
        assert file.tensor("head.weight")[0, 1] == 5.0
    copies = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    copies["transposed"] = copies["head.weight"].T.contiguous()
    save_file(copies, tmp_path / "copies")
    with pytest.raises(PatchError, match="shared=True changes them together") as error:
        apply_to_file(patch, tmp_path / "copies", tmp_path / "none")
    assert "head.weight, transposed." in sentence(error)
    apply_to_file(patch, tmp_path / "copies", tmp_path / "all", shared=True)
    file = open_tensors(tmp_path / "all")
    assert torch.equal(file.tensor("head.weight"), file.tensor("embedding.weight"))
    assert torch.equal(file.tensor("transposed").T, file.tensor("embedding.weight"))
    apply_to_file(patch, tmp_path / "all", tmp_path / "back", revert=True, shared=True)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "copies").read_bytes()


def test_a_patch_that_changes_both_copies_needs_no_leave(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3)
    module = nn.ParameterDict({name: nn.Parameter(weight.clone()) for name in "ab"})
    safetensors(module, tmp_path / "m")
    found = apply_to_file(patch_of(module, {"a": {1: 9.0}, "b": {1: 9.0}}), tmp_path / "m", tmp_path / "out")
    assert set(found.names) == {"a", "b"}
    apply_to_file(patch_of(module, {"a": {1: 9.0}, "b": {2: 7.0}}), tmp_path / "m", tmp_path / "differently")
    assert open_tensors(tmp_path / "differently").tensor("b").tolist() == [[0, 1, 7], [3, 4, 5]]


def test_an_initializer_of_two_operations_changes_both_and_is_refused(tmp_path):
    model = graph(network())
    model.graph.node.append(helper.make_node("Identity", ["3.bias"], ["again"], "twin"))
    onnx.save(model, tmp_path / "m.onnx")
    patch = patch_of(network(), {"3.bias": {0: 1.0}})
    with pytest.raises(PatchError, match="is used by several, gemm, twin") as error:
        apply_to_file(patch, tmp_path / "m.onnx", tmp_path / "out.onnx")
    assert "shared=True changes them together" in sentence(error)
    found = apply_to_file(patch, tmp_path / "m.onnx", tmp_path / "out.onnx", shared=True)
    assert found.shared == {"3.bias": ("gemm", "twin")}


# What cannot be carried: file -> sentence.


def folded(path):
    state = network().state_dict()
    save_file({**state, "3.weight": state["3.weight"] * 1.5}, path)


def half(path):
    network(torch.bfloat16)
    safetensors(network(torch.bfloat16), path)


def renamed_with_other_values(path):
    onnx.save(graph(nn.Sequential(*list(network())[:3], nn.Linear(8, 3)), prefix="onnx::"), path)


def other_shape(path):
    save_file({**network().state_dict(), "3.weight": torch.zeros(3, 9)}, path)


def missing(path):
    save_file({"3.wight": torch.zeros(9), "other": torch.zeros(2)}, path)


def dynamically_quantised(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(torch.ao.quantization.quantize_dynamic(network(), {nn.Linear}).state_dict(), path)


def quantised_tensor(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"w": torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8)}, path)


def gptq(path):
    save_file({"3.qweight": torch.ones(4, 3, dtype=torch.int32), "3.scales": torch.ones(3)}, path)


def float8(path):
    save_file({"3.weight": torch.ones(3, 8).to(torch.float8_e4m3fn)}, path)


def quantised_onnx(path, op="DequantizeLinear", values=np.ones((3, 8), np.int8)):  # noqa: B008 - read alone
    weight = numpy_helper.from_array(values, "3.weight")
    scale = numpy_helper.from_array(np.ones((), np.float32), "scale")
    node = helper.make_node(op, ["3.weight", "scale"], ["y"], "node")
    output = helper.make_tensor_value_info("y", 1, [3, 8])
    onnx.save(helper.make_model(helper.make_graph([node], "g", [], [output], [weight, scale])), path)


def blocks_of_four_bits(path):
    quantised_onnx(path, "MatMulNBits", np.ones((3, 1, 16), np.uint8))


def sparse_onnx(path):
    model = graph(network())
    kept = [tensor for tensor in model.graph.initializer if tensor.name != "3.weight"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    values = numpy_helper.from_array(np.ones(1, np.float32), "3.weight")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [3, 8]))
    onnx.save(model, path)


def sparse_constant(path):
    sparse_onnx(path)
    model = onnx.load(path)
    place = model.graph.sparse_initializer.pop()
    model.graph.node.insert(0, helper.make_node("Constant", [], ["3.weight"], sparse_value=place))
    onnx.save(model, path)


def packed_in_fours(path):
    kept = helper.make_tensor("3.weight", onnx.TensorProto.INT4, (3, 8), np.ones(24, np.int8))
    quantised_onnx(path)
    model = onnx.load(path)
    model.graph.initializer[0].CopyFrom(kept)
    onnx.save(model, path)


def quantised_constant(path):
    quantised_onnx(path)
    model = onnx.load(path)
    weight = model.graph.initializer[0]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["3.weight"], value=weight))
    del model.graph.initializer[0]
    onnx.save(model, path)


def function(path):
    """The last layer as a function of the model, its weight a constant in there."""
    model = graph(network(), constants=True)
    weight, bias, gemm = (
        next(node for node in model.graph.node if node.output[0] == name)
        for name in ("3.weight", "3.bias", "y")
    )
    plain = helper.make_opsetid("", 17)
    body = helper.make_function("own", "Head", ["f"], ["y"], [weight, bias, gemm], [plain])
    for node in (weight, bias, gemm):
        model.graph.node.remove(node)
    model.graph.node.append(helper.make_node("Head", ["f"], ["y"], domain="own"))
    model.functions.append(body)
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def frozen(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.freeze(torch.jit.script(network())).save(path)


def whole_module(path):
    torch.save(network(), path)


def whole_numbers(path):
    save_file({"counts": torch.arange(4)}, path)


def quantised_gguf(path):
    """The head in float32, the rest in blocks of 32 numbers of 8 bits and a scale."""
    head = nn.ParameterDict({"cls": nn.Parameter(torch.ones(2))})
    gguf(head, path, [("3.weight", (3, 32), 8, bytes(3 * 34)), ("ids", (4,), 26, bytes(16))])


def whole_gguf(path):
    gguf(nn.Module(), path, [("ids", (4,), 26, bytes(16))])


def other_gguf(path):
    gguf(network(), path, version=4)


def twice_gguf(path):
    gguf(network(), path, [("3.bias", (1,), 0, bytes(4))])


def short_gguf(path):
    gguf(network(), path)
    path.write_bytes(path.read_bytes()[:-64])


def begins(content):
    def write(path):
        path.write_bytes(content)

    write.__name__ = f"begins with {content[:12]!r}"
    return write


def archive(path):
    np.savez(path.with_suffix(".npz"), a=np.zeros(2))
    path.with_suffix(".npz").rename(path)


REFUSED = [
    (folded, "same name|in 3.weight 2 of 2 values differ, the first at (0, 5): the file holds"),
    (half, "3.weight is bfloat16 in the file, float32 in the patch, so the values differ: correct the model in"),
    (renamed_with_other_values, "Nearest of its shape: in onnx::3.weight 2 of 2 values differ"),
    (other_shape, "3.weight has the shape (3, 9) in the file, (3, 8) in the patch"),
    (missing, "no tensor has its shape (3, 8): did you mean '3.wight'?"),
    (dynamically_quantised, "is quantised: correct the float model, with where=('int8',)"),
    (quantised_tensor, "w is quantised: correct the float model, with where=('int8',)"),
    (gptq, "3.qweight is quantised"),
    (float8, "3.weight is quantised"),
    (quantised_onnx, "3.weight is quantised"),
    (blocks_of_four_bits, "3.weight is quantised"),
    (sparse_onnx, "3.weight is sparse: write the model with dense initializers"),
    (sparse_constant, "3.weight is sparse: write the model with dense initializers"),
    (packed_in_fours, "3.weight is quantised"),
    (quantised_constant, "3.weight is quantised"),
    (function, "Head/3.weight is inside a function of the model, which may be called in several places: write the"),
    (frozen, "frozen TorchScript module, whose weights are constants of its code: write the patch into the file of"),
    (whole_module, "it holds more than tensors: save the model's state_dict() alone"),
    (whole_numbers, "has no weights that a patch could change: it holds no floating-point tensor"),
    (begins(b"GGUF\3\0\0\0"), "cannot be read as GGUF: its header ends behind the file"),
    (quantised_gguf, "3.weight is quantised: correct the float model"),
    (whole_gguf, "has no weights that a patch could change"),
    (other_gguf, "cannot be read as GGUF: its version is 4, and 2 and 3 are known"),
    (twice_gguf, "cannot be read as GGUF: two of its tensors have one name"),
    (short_gguf, "cannot be read as GGUF: the numbers of 3.bias end behind the file"),
    (begins(b"\x20\0\0\0ORTM"), "is in ONNX Runtime's own format: write into the .onnx file"),
    (begins(b"\x1c\0\0\0TFL3"), "is TensorFlow Lite, whose weights are packed"),
    (begins(b"\x89HDF\r\n"), "is HDF5: save the weights as one of"),
    (begins(b""), "is none of safetensors, a state dict"),
    (begins(b"\x80\x04N."), "is none of safetensors, a state dict"),
    (begins(b"\x08\x08"), "cannot be read as ONNX: it has no graph"),
    (begins(b"PK\3\4"), "is a damaged archive"),
    (archive, "is an archive, and none that torch.save, torch.jit or torch.export writes"),
    (begins(b"\x09\0\0\0\0\0\0\0{"), "it tells of a header of 9 bytes, and has 1"),
]  # fmt: skip


@pytest.mark.parametrize(("write", "message"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_what_cannot_be_carried_is_refused_in_a_sentence(write, message, tmp_path):
    write(tmp_path / "m")
    with pytest.raises((PatchError, FormatError)) as error:
        apply_to_file(patch_of(network(), WEIGHT), tmp_path / "m", tmp_path / "out")
    assert any(part in sentence(error) for part in message.split("|"))
    assert {path.name for path in tmp_path.iterdir()} == {"m"}
    if isinstance(error.value, PatchError):
        verdict = verify_file(patch_of(network(), WEIGHT), tmp_path / "m")
        assert (verdict.state, bool(verdict.reason)) == ("neither", True)


def test_a_model_without_its_functions_takes_the_patch(tmp_path):
    function(tmp_path / "m")
    onnx.save(onnx.inliner.inline_local_functions(onnx.load(tmp_path / "m")), tmp_path / "plain")
    found = apply_to_file(patch_of(network(), WEIGHT), tmp_path / "plain", tmp_path / "out")
    assert found.patch.parts()[0].new.tolist() == [2.5, -1.0]


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(FormatError, match="is no plain file"):
        open_tensors(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_tensors(tmp_path / "none")


def test_an_empty_patch_and_a_wrong_place_are_refused(tmp_path):
    onnx_raw(network(), tmp_path / "m.onnx")
    file, patch = open_tensors(tmp_path / "m.onnx"), patch_of(network(), WEIGHT)
    nothing = dataclasses.replace(patch, indices=patch.indices[:0], old=patch.old[:0], new=patch.new[:0])
    with pytest.raises(PatchError, match="changes nothing"):
        carried(nothing, file)
    place, value = torch.tensor([24]), torch.tensor([1.0])
    for changes, message in (
        ({"3.weight": (place, value)}, "3.weight has 24 numbers, and a position is outside"),
        ({"3.weight": (place - 1, value.double())}, "3.weight is float32 in"),
        ({"3.weigth": (place - 1, value)}, "did you mean '3.weight'?"),
    ):
        with pytest.raises(FormatError, match=re.escape(message)):
            file.rewritten(tmp_path / "out.onnx", changes)
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx"}


def test_a_patch_in_a_file_finds_a_file_as_one_in_memory_does(tmp_path):
    patch_of(network(), WEIGHT).save(tmp_path / "fix")
    safetensors(network(), tmp_path / "m")
    loaded = Patch.load(tmp_path / "fix")
    assert apply_to_file(loaded, tmp_path / "m", tmp_path / "out").names == {"3.weight": ("3.weight", False)}
