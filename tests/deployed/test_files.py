"""Files of models: a patch is written into each format and taken back, whole or not at all."""

import os
import shutil
import sys
import zipfile

import numpy as np
import onnx
import pytest
import torch
from model_files import (
    ANEW,
    IN_PLACE,
    checkpoint,
    exported,
    gguf,
    legacy,
    network,
    onnx_external,
    onnx_raw,
    onnx_typed,
    patch_of,
    safetensors,
    script,
    state_dict,
)
from odd_patches import bytes_of
from onnx import helper, numpy_helper

from bgd import rng
from bgd.deployed import FormatError, apply_to_file, open_tensors, session, verify_file
from bgd.patch import PatchError

CHANGES = {"3.weight": {5: 2.5, 23: float("nan")}, "3.bias": {0: -0.0}, "1.weight": {1: 7.0}}


def values(file):
    return {name: file.tensor(name).clone() for name in file.names}


def same(one, other):
    return one.keys() == other.keys() and all(bytes_of(one[name]) == bytes_of(other[name]) for name in one)


def roundtrip(module, write, tmp_path, changes=None):
    """Apply a patch to a file and take it back; return the three files."""
    patch = patch_of(module, changes or CHANGES)
    paths = [tmp_path / name for name in ("source", "patched", "back")]
    write(module, paths[0])
    before, kept = values(open_tensors(paths[0])), paths[0].read_bytes()
    carried = apply_to_file(patch, paths[0], paths[1])
    wanted = dict(before)
    with torch.no_grad(), patch.applied(module):
        for name in patch.tensors:
            found, transposed = carried.names[name]
            tensor = dict(module.named_parameters())[name]
            wanted[found] = (tensor.T if transposed else tensor).clone().contiguous()
    assert same(values(open_tensors(paths[1])), wanted)
    apply_to_file(patch, paths[1], paths[2], revert=True)
    assert same(values(open_tensors(paths[2])), before)
    assert paths[0].read_bytes() == kept
    assert [verify_file(patch, path).state for path in paths] == ["base", "patched", "base"]
    return paths


@pytest.mark.parametrize("write", IN_PLACE)
def test_in_place_every_other_byte_stays(write, tmp_path):
    source, patched, back = (path.read_bytes() for path in roundtrip(network(), write, tmp_path))
    assert back == source
    assert len(patched) == len(source)
    changed = sum(one != other for one, other in zip(source, patched, strict=True))
    numbers = sum(map(len, CHANGES.values()))
    sums = 8 * len(CHANGES)  # a zip archive has the checksum of a record twice
    assert 0 < changed <= 4 * numbers + (sums if source[:2] == b"PK" else 0)
    assert {path.name for path in tmp_path.iterdir()} == {"source", "patched", "back"}


def test_the_head_of_a_quantised_gguf_file_is_written(tmp_path):
    """Blocks of 34 bytes lie around it, and stay."""
    blocks = bytes(range(34)) * 3
    head = torch.nn.ParameterDict({"cls": torch.nn.Parameter(torch.arange(6.0).view(2, 3))})
    gguf(head, tmp_path / "m", [("blk.0", (3, 32), 8, blocks)])
    apply_to_file(patch_of(head, {"cls": {4: 9.0}}), tmp_path / "m", tmp_path / "out")
    assert open_tensors(tmp_path / "out").tensor("cls").tolist() == [[0, 1, 2], [3, 9, 5]]
    assert blocks in (tmp_path / "out").read_bytes()
    assert open_tensors(tmp_path / "out").kind == "GGUF"


@pytest.mark.parametrize("write", ANEW)
def test_a_file_written_anew_holds_the_same_tensors(write, tmp_path):
    roundtrip(network(), write, tmp_path)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_a_program_of_torch_export(tmp_path):
    source, _, back = roundtrip(network(), exported, tmp_path)
    assert back.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_any_patch_of_any_type_comes_back(seed, kind, tmp_path):
    stream = rng.stream(seed, "formats", str(kind))
    module, changes = network(kind), {}
    for name, tensor in module.named_parameters():
        if stream.random() < 0.6 or not changes:
            places = stream.choice(tensor.numel(), stream.integers(1, tensor.numel() + 1), replace=False)
            changes[name] = {int(at): float(stream.standard_normal()) for at in places}
    writers = (
        [safetensors, state_dict, gguf, onnx_raw, onnx_typed]
        if kind != torch.bfloat16
        else [safetensors, state_dict, gguf]
    )
    write = writers[seed % len(writers)]
    source, _, back = roundtrip(module, write, tmp_path, changes)
    anew = write is onnx_typed and kind == torch.float16
    assert anew or back.read_bytes() == source.read_bytes()


def test_torch_and_python_read_what_was_written(tmp_path):
    module, patch = network(), patch_of(network(), CHANGES)
    for write in (state_dict, script, legacy):
        write(module, tmp_path / "source")
        apply_to_file(patch, tmp_path / "source", tmp_path / "out", overwrite=True)
        if write is not legacy:
            with zipfile.ZipFile(tmp_path / "out") as archive:
                assert archive.testzip() is None
        if write is script:
            labels = {"labels.txt": ""}
            found = torch.jit.load(tmp_path / "out", _extra_files=labels).state_dict()
            assert labels == {"labels.txt": b"a b c"}
        else:
            found = torch.load(tmp_path / "out", weights_only=True)
        with patch.applied(module):
            for name, tensor in module.state_dict().items():
                assert bytes_of(found[name]) == bytes_of(tensor)


def test_an_archive_without_checksums_stays_without(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        state_dict(network(), tmp_path / "plain")
    finally:
        torch.serialization.set_crc32_options(True)
    apply_to_file(patch_of(network(), CHANGES), tmp_path / "plain", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out") as archive:
        assert {info.CRC for info in archive.infolist()} == {0}


def test_alike_records_are_told_apart(tmp_path):
    """Both biases are zeros: two records with the same bytes."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 3))
    for layer in module:
        torch.nn.init.zeros_(layer.bias)
    for write in (state_dict, script):
        write(module, tmp_path / "source")
        patch = patch_of(module, {"1.bias": {1: 4.0}})
        assert apply_to_file(patch, tmp_path / "source", tmp_path / "out", overwrite=True).names == {
            "1.bias": ("1.bias", False)
        }
        after = values(open_tensors(tmp_path / "out"))
        assert after["1.bias"].tolist() == [0.0, 4.0, 0.0]
        assert after["0.bias"].tolist() == [0.0, 0.0, 0.0]


def test_external_data_goes_with_the_new_file_under_a_name_of_its_own(tmp_path):
    onnx_external(network(), tmp_path / "m.onnx")
    kept = (tmp_path / "m.onnx.bin").read_bytes()
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "elsewhere" / "fix.onnx"
    apply_to_file(patch_of(network(), CHANGES), tmp_path / "m.onnx", out)
    assert {path.name for path in out.parent.iterdir()} == {"fix.onnx", "fix.onnx.data"}
    assert (tmp_path / "m.onnx.bin").read_bytes() == kept
    weight = {t.name: numpy_helper.to_array(t) for t in onnx.load(out).graph.initializer}["3.weight"]
    assert weight.ravel()[5] == 2.5
    patch = patch_of(network(), CHANGES)
    with (tmp_path / "m.onnx.bin").open("r+b") as file:
        file.seek(40)
        file.write(b"\1\2")  # the SHA-256 covers what lies outside of the ONNX file
    (tmp_path / "elsewhere" / "again.onnx.data").touch()
    with pytest.raises(FileExistsError, match="the external data would be called so"):
        open_tensors(tmp_path / "m.onnx").rewritten(tmp_path / "elsewhere" / "again.onnx", {})
    (tmp_path / "m.onnx.bin").write_bytes(kept[:-20])
    assert "external data that is not beside the file" in " ".join(
        open_tensors(tmp_path / "m.onnx").unfit.values()
    )
    with pytest.raises(PatchError, match="external data that is not beside the file"):
        apply_to_file(patch, tmp_path / "m.onnx", tmp_path / "none.onnx")
    assert not (tmp_path / "none.onnx").exists()


def test_external_data_elsewhere_is_not_read(tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "m.onnx"
    onnx_external(network(), path)
    shutil.move(tmp_path / "in" / "m.onnx.bin", tmp_path / "away.bin")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = "../away.bin"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match="external data that is not beside the file"):
        open_tensors(path)


def test_tensors_of_subgraphs_have_the_names_of_their_nodes_before_them(tmp_path):
    weight = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "w")
    three = helper.make_tensor_value_info("y", 1, [1, 3])
    bodies = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])], name, [], [three], [weight]
        )
        for name in ("then", "else")
    }
    node = helper.make_node("If", ["c"], ["z"], "choice", **bodies)
    plain = helper.make_node("Constant", [], ["one"], value_floats=[1.0, 2.0])
    inputs = [helper.make_tensor_value_info("x", 1, [1, 2]), helper.make_tensor_value_info("c", 9, [])]
    outputs = [helper.make_tensor_value_info("z", 1, [1, 3])]
    onnx.save(helper.make_model(helper.make_graph([plain, node], "g", inputs, outputs)), tmp_path / "m.onnx")
    file = open_tensors(tmp_path / "m.onnx")
    assert set(file.names) == {"one", "choice/then_branch/w", "choice/else_branch/w"}
    new = torch.tensor([9.0])
    changes = {"choice/else_branch/w": (torch.tensor([4]), new), "one": (torch.tensor([1]), new)}
    file.rewritten(tmp_path / "out.onnx", changes)
    after = values(open_tensors(tmp_path / "out.onnx"))
    assert after["choice/else_branch/w"].tolist() == [[0, 1, 2], [3, 9, 5]]
    assert after["choice/then_branch/w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert after["one"].tolist() == [1, 9]
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"))


def test_nothing_is_written_over_or_by_half(tmp_path, monkeypatch):
    patch, source, out = patch_of(network(), CHANGES), tmp_path / "source", tmp_path / "out"
    for write in (safetensors, state_dict, onnx_external):
        write(network(), source)
        kept, there = source.read_bytes(), set(tmp_path.iterdir())
        (tmp_path / "link").symlink_to(source)
        for same_file in (source, tmp_path / "link"):
            with pytest.raises(FormatError, match="is never written over"):
                apply_to_file(patch, source, same_file, overwrite=True)
        (tmp_path / "link").unlink()

        def full(descriptor):
            raise OSError("no space left")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="no space left"):
                apply_to_file(patch, source, out)
        with monkeypatch.context() as patched:
            patched.setattr("bgd.deployed.numbers.Numbers.write", lambda *_: None)
            with pytest.raises(FormatError, match=r"not be as it has to be|in no record"):
                apply_to_file(patch, source, out)
        assert set(tmp_path.iterdir()) == there
        assert source.read_bytes() == kept
    out.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        apply_to_file(patch, source, out)
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize("write", [*IN_PLACE, *ANEW])
def test_a_truncated_or_altered_file_is_a_named_error(write, tmp_path):
    """Or it is read: numbers may be any. What is written then holds what it should."""
    write(network(), tmp_path / "whole")
    content, patch, stream = (
        (tmp_path / "whole").read_bytes(),
        patch_of(network(), CHANGES),
        rng.stream(0, "fuzz"),
    )
    damaged = tmp_path / "damaged"
    for _ in range(12):
        altered = bytearray(content[: int(stream.integers(len(content) + 1))])
        if stream.random() < 0.7 or not altered:
            altered = bytearray(content)
            for at in stream.integers(len(content), size=int(stream.integers(1, 4))):
                altered[at] = int(stream.integers(256))
        damaged.write_bytes(altered)
        try:
            apply_to_file(patch, damaged, tmp_path / "out")
        except (FormatError, PatchError):
            assert not (tmp_path / "out").exists()
        else:
            assert verify_file(patch, tmp_path / "out").state == "patched"
        for left in tmp_path.glob("out*"):
            left.unlink()
        assert not list(tmp_path.glob("*.partial"))


def test_without_onnx_the_other_formats_work_and_onnx_is_a_sentence(tmp_path, monkeypatch):
    """Absent is not importable; tests/test_layers.py holds that nothing of it is imported with the modules."""

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("onnx", "onnxruntime", "safetensors"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    state_dict(network(), tmp_path / "m.pt")
    onnx_raw(network(), tmp_path / "m.onnx")
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    for name in [name for name in sys.modules if name.partition(".")[0] in ("onnx", "onnxruntime")]:
        monkeypatch.delitem(sys.modules, name)
    apply_to_file(patch_of(network(), CHANGES), tmp_path / "m.pt", tmp_path / "out.pt")
    for call in (open_tensors, session):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'bgd\[onnx\]'"):
            call(tmp_path / "m.onnx")


def test_a_checkpoint_says_where_its_tensors_are(tmp_path):
    checkpoint(network(), tmp_path / "m.pt")
    carried = apply_to_file(patch_of(network(), {"3.bias": {0: 1.0}}), tmp_path / "m.pt", tmp_path / "out.pt")
    assert carried.renamed == {"3.bias": "state_dict.module.3.bias"}
    assert torch.load(tmp_path / "out.pt", weights_only=True)["epoch"] == 3
