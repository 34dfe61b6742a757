"""The file of a patch: written whole, read by its document, refused when anything is amiss."""

import dataclasses
import hashlib
import json
import os
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from odd_patches import KINDS, SEVERAL, odd_model, odd_patch, patch_of, same, state
from torch import nn

from bgd import rng
from bgd.flat import FlatNetwork
from bgd.parameters import ParameterSpace
from bgd.patch import Patch, PatchError
from bgd.patch.container import TYPES, packed, read_header, read_rows
from bgd.patch.file import decoded, encoded
from experiments.mnist.networks import MLP

DOCUMENT = Path(__file__).parents[1] / "docs" / "patch-format.md"
NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}


def documented():
    """The patch that docs/patch-format.md shows."""
    model = nn.ModuleDict({"fc": nn.Linear(3, 2, bias=False)})
    model.fc.weight.data = torch.tensor([[0.5, 0.25, -1.0], [2.0, 0.0, 1.5]])
    patch = dataclasses.replace(
        patch_of(model, {1: 0.75, 5: -0.125}), metadata={"method": "by hand", "seed": "0"}
    )
    return model, patch


def read_by_the_document(path):
    """A reader in the words of docs/patch-format.md: no torch, no library."""
    content = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    texts = header.pop("__metadata__")
    assert (texts["format"], texts["version"]) == ("bgd-patch", "1")
    zeroed = content.replace(texts["checksum"].encode(), b"0" * 64, 1)
    assert hashlib.sha256(zeroed).hexdigest() == texts["checksum"]
    rows = {}
    for key, entry in header.items():
        first, last = (8 + length + offset for offset in entry["data_offsets"])
        rows[key] = np.frombuffer(content[first:last], NUMBERS[entry["dtype"]])
        assert first % rows[key].itemsize == 0, (
            "whoever maps the file into memory can use the numbers in place"
        )
        assert [len(rows[key])] == entry["shape"]
    names = {key.rpartition(".")[0] for key in rows}
    assert set(rows) == {f"{name}.{row}" for name in names for row in ("indices", "old", "values")}
    return {
        name: (
            json.loads(texts[f"{name}.shape"]),
            rows[f"{name}.indices"],
            rows[f"{name}.old"],
            rows[f"{name}.values"],
            texts.get(f"{name}.sha256"),
        )
        for name in names
    }, texts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(SEVERAL))
def test_a_file_gives_back_the_patch_bit_for_bit(kind, seed, tmp_path):
    stream = rng.stream(seed, "file", str(kind))
    model, path = odd_model(stream, kind), tmp_path / "patch.safetensors"
    metadata = {"goal": 'Ünïcode, "quotes"\n', "seed": str(seed), "": ""}
    patch = dataclasses.replace(odd_patch(model, stream), metadata=metadata)
    patch.save(path, base=model if seed % 2 else None)
    loaded = Patch.load(path)
    assert same(loaded.over(ParameterSpace.of(model)), patch)
    assert loaded.metadata == metadata
    assert set(loaded.hashes) == set(patch.tensors if seed % 2 else ())
    loaded.save(again := tmp_path / "again")
    assert again.read_bytes() == path.read_bytes()
    wanted, before = FlatNetwork(model), state(model)
    patch.apply(wanted.flat)
    with loaded.applied(model):
        assert state(model) == state(wanted.module)
    assert state(model) == before
    parts, texts = read_by_the_document(path)
    assert texts["goal"] == metadata["goal"]
    for part in patch.parts():
        shape, indices, old, new, digest = parts[part.name]
        assert (tuple(shape), indices.tolist()) == (part.shape, part.indices.tolist())
        for read, own in ((old, part.old), (new, part.new)):
            assert read.tobytes() == own.view(torch.uint8).numpy().tobytes()
        assert digest == loaded.hashes.get(part.name)


def test_a_patch_of_five_parameters_takes_less_than_a_kilobyte(tmp_path):
    """With everything that the metadata of a correction has to tell; in two tensors, and their hashes."""
    network = MLP()
    metadata = {
        "method": "bgd_ii",
        "options": '{"expansion":2,"iterations":100,"subset_size":5}',
        "seed": "0",
        "goal": "label 7",
        "sample": "0" * 64,
        "versions": "bgd 0.1.0, torch 2.14.1",
    }
    patch = patch_of(network, {5: 0.25, 700: 0.5, 9_400: 1.0, 9_430: -1.0, 9_500: 0.125})
    dataclasses.replace(patch, metadata=metadata).save(tmp_path / "fix", base=network)
    assert len(Patch.load(tmp_path / "fix").hashes) == 2
    assert (tmp_path / "fix").stat().st_size < 1_150
    single = patch_of(network, {5: 0.25, 700: 0.5, 9_000: 1.0, 9_200: -1.0, 9_300: 0.125})
    dataclasses.replace(single, metadata=metadata).save(tmp_path / "single", base=network)
    assert (tmp_path / "single").stat().st_size < 1_000


def test_the_document_shows_a_file_as_it_is(tmp_path):
    text = DOCUMENT.read_text()
    model, patch = documented()
    patch.save(tmp_path / "fix", base=model)
    lines = re.findall(r"^[0-9a-f]{8}  ((?:[0-9a-f]{2} ?)+)", text, re.MULTILINE)
    assert bytes.fromhex(" ".join(lines)) == (tmp_path / "fix").read_bytes()
    shown = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    content = (tmp_path / "fix").read_bytes()
    assert shown == json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])


def test_another_implementation_of_safetensors_reads_and_writes_the_same(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    rows = {str(kind): torch.arange(5).to(kind) for kind in TYPES.values()}
    (tmp_path / "ours").write_bytes(packed(rows, {"seed": "0", "goal": "Ünïcode"}))
    with safetensors.safe_open(tmp_path / "ours", "pt") as file:
        assert file.metadata() == {"seed": "0", "goal": "Ünïcode"}
        theirs = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    content = safetensors.save(rows, {"seed": "0"})
    texts, entries, start = read_header(content)
    assert texts == {"seed": "0"}
    for found in (theirs, read_rows(content, entries, start)):
        assert found.keys() == rows.keys()
        for name, row in rows.items():
            assert found[name].dtype == row.dtype
            assert torch.equal(found[name], row)


def test_a_file_is_replaced_on_purpose_alone_and_as_a_whole(tmp_path, monkeypatch):
    _, patch = documented()
    path = tmp_path / "fix"
    patch.save(path)
    whole = path.read_bytes()
    with pytest.raises(FileNotFoundError, match=r"there is no such folder: '.*none'"):
        patch.save(tmp_path / "none" / "fix")
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        patch.save(path)
    changed = dataclasses.replace(patch, metadata={"seed": "1"})

    def full(descriptor):
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            changed.save(path, overwrite=True)
    assert path.read_bytes() == whole
    changed.save(path, overwrite=True)
    assert Patch.load(path).metadata == {"seed": "1"}
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"format": "mine"}}, "the metadata has 'format', a key of the format"),
        ({"metadata": {"fc.weight.sha256": "0"}}, "the metadata has 'fc.weight.sha256', a key of the format"),
        ({"metadata": {"seed": 1}}, "the metadata has 'seed': 1, and text alone"),
        ({"metadata": {"seed": "\ud800"}}, "text alone can be written"),
        ({"space": ParameterSpace(("fc\n",), ((2, 3),))}, r"'fc\\n' is no name of a tensor"),
        ({"indices": torch.tensor([1, 6])}, "indices do not ascend"),
        ({"indices": torch.tensor([5, 5])}, "indices do not ascend"),
        ({"new": torch.zeros(2, dtype=torch.float64)}, "old values in float32 and new ones in float64"),
        ({"indices": torch.tensor([], dtype=torch.int64)}, "it changes nothing"),
    ],
)  # fmt: skip
def test_what_could_not_be_read_is_not_written(change, message, tmp_path):
    _, patch = documented()
    with pytest.raises(PatchError, match=message):
        dataclasses.replace(patch, **change).save(tmp_path / "fix")
    assert not list(tmp_path.iterdir())


def test_another_base_is_refused_when_a_file_is_made(tmp_path):
    model, patch = documented()
    model.fc.weight.data[0, 1] = 9.0
    with pytest.raises(PatchError, match=r"fc.weight: 1 of 2 values differ, the first at \(0, 1\)"):
        patch.save(tmp_path / "fix", base=model)
    assert not list(tmp_path.iterdir())


def forged(header, data, checksum=True):
    """A file with any header, its checksum right."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    content = struct.pack("<Q", len(text)) + text + data
    return sealed(content) if checksum else content


def sealed(content):
    """A file's bytes with the checksum that they have now, if there is a place for one."""
    found = re.search(rb'"checksum": ?"([0-9a-f]{64})"', content)
    if not found:
        return content
    zeroed = content[: found.start(1)] + b"0" * 64 + content[found.end(1) :]
    return zeroed.replace(b"0" * 64, hashlib.sha256(zeroed).hexdigest().encode(), 1)


def plain():
    """Header and numbers of a file, to be changed."""
    texts = {"format": "bgd-patch", "version": "1", "checksum": "0" * 64, "a.w.shape": "[2,3]"}
    rows = {"a.w.indices": ("I32", 0), "a.w.old": ("F32", 8), "a.w.values": ("F32", 16)}
    entries = {
        key: {"dtype": kind, "shape": [2], "data_offsets": [at, at + 8]} for key, (kind, at) in rows.items()
    }
    return {"__metadata__": texts, **entries}, struct.pack("<2i4f", 1, 5, 0.25, 1.5, 0.75, -0.125)


def changed(path, value):
    """A change of the header: what a path of keys leads to, removed for `...`."""

    def change(header, data):
        *way, last = path
        place = header
        for key in way:
            place = place[key]
        if value is ...:
            del place[last]
        else:
            place[last] = value
        return header, data

    return change


def numbers(*values):
    """A change of the numbers."""
    return lambda header, data: (header, struct.pack("<2i4f", *values))


def added(**rows):
    return lambda header, data: ({**header, **rows}, data)


def whole_numbers(header, data):
    header[OLD]["dtype"] = header[VALUES]["dtype"] = "I32"
    return header, data


def emptied(header):
    for row in (INDICES, OLD, VALUES):
        header[row] |= {"shape": [0], "data_offsets": [0, 0]}
    return header


def shortened(header, data):
    header[VALUES] |= {"shape": [1], "data_offsets": [16, 20]}
    return header, data[:-4]


TEXTS, INDICES, OLD, VALUES = "__metadata__", "a.w.indices", "a.w.old", "a.w.values"
AMISS = [
    (changed([TEXTS, "format"], "pt"), "its format is 'pt', not 'bgd-patch'"),
    (changed([TEXTS, "format"], ...), "its format is None"),
    (changed([TEXTS, "format"], "bgd" * 1_000), r"its format is 'bgdbgd.*\.\.\..*'"),
    (changed([TEXTS, "seed"], "\ud800"), "its header is no JSON: UnicodeEncodeError"),
    (changed([TEXTS, "version"], "2"), "its version is '2', and this library reads '1'"),
    (changed([TEXTS, "version"], "1.0"), "its version is '1.0'"),
    (changed([TEXTS, "version"], 1), "no '__metadata__' from text to text"),
    (changed([TEXTS, "checksum"], ...), "no checksum"),
    (changed([TEXTS, "checksum"], "A" * 64), "no checksum"),
    (changed([TEXTS], ...), "no '__metadata__' from text to text"),
    (changed([TEXTS], []), "no '__metadata__' from text to text"),
    (changed([TEXTS, "a.w.shape"], ...), "a.w.shape is no shape: None"),
    *[
        (changed([TEXTS, "a.w.shape"], text), "a.w.shape is no shape: ")
        for text in ("", "2,3", "[2,-3]", "[2, 3]", "[02,3]", "[2.0]", f"[{10**18},10]", "[1" + ",1" * 64 + "]")
    ],
    (changed([TEXTS, "a.w.shape"], "[2,2]"), "a.w.indices do not ascend from 0 or more to less than 4, each once"),
    (changed([TEXTS, "a.w.shape"], "[2,0]"), "a.w.indices do not ascend from 0 or more to less than 0"),
    (changed([TEXTS, "a.w.shape"], f"[{1 << 31}]"), "a.w.indices are int32, for the shape .* int64"),
    (changed([TEXTS, "a.w.sha256"], "abc"), "a.w.sha256 is no SHA-256: 'abc'"),
    (numbers(-1, 5, 0, 1, 2, 3), "a.w.indices do not ascend"),
    (numbers(1, 6, 0, 1, 2, 3), "a.w.indices do not ascend"),
    (numbers(5, 1, 0, 1, 2, 3), "a.w.indices do not ascend"),
    (numbers(5, 5, 0, 1, 2, 3), "a.w.indices do not ascend"),
    (changed([OLD], ...), "it has 24 bytes of numbers|the bytes of 'a.w.values' begin at 16"),
    (changed([VALUES], ...), "it has 24 bytes of numbers, and its header tells of 16"),
    (added(b={"dtype": "F32", "shape": [0], "data_offsets": [24, 24]}), "'.indices' is missing or astray"),
    (added(**{"b.old": {"dtype": "F32", "shape": [0], "data_offsets": [24, 24]}}), "'b.indices' is missing"),
    (changed([VALUES, "dtype"], "I32"), "a.w has old values in float32 and new ones in int32"),
    (changed([INDICES, "dtype"], "F32"), "a.w.indices are float32"),
    (changed([OLD, "dtype"], "F16"), "'a.w.old' has 2 numbers of F16, and 8 bytes"),
    (changed([OLD, "dtype"], "C64"), "'a.w.old' is no row of numbers in F64, "),
    (changed([OLD, "dtype"], ["F32"]), "'a.w.old' is no row of numbers"),
    (changed([OLD, "shape"], [2, 1]), "'a.w.old' is no row of numbers"),
    (changed([OLD, "shape"], []), "'a.w.old' is no row of numbers"),
    (changed([OLD, "shape"], [2.0]), "'a.w.old' is no row of numbers"),
    (changed([OLD, "shape"], [True]), "'a.w.old' is no row of numbers"),
    (changed([OLD], {"dtype": "F32", "shape": [-2], "data_offsets": [16, 8]}), "'a.w.old' has -2 numbers of F32"),
    (whole_numbers, "a.w has old values in int32 and new ones in int32"),
    (lambda header, data: (emptied(header), b""), "a.w has 0 indices, 0 old and 0 new values"),
    (shortened, "a.w has 2 indices, 2 old and 1 new values"),
    (changed([OLD, "shape"], [10**4000]), "'a.w.old' has 1000.* numbers of F32"),
    (changed([OLD, "data_offsets"], [8, 12]), "'a.w.old' has 2 numbers of F32, and 4 bytes"),
    (changed([OLD, "data_offsets"], [16, 24]), "the bytes of 'a.w.(old|values)' begin at 16, and those before it end"),
    (changed([OLD, "data_offsets"], [-8, 0]), "the bytes of 'a.w.old' begin at -8"),
    (changed([OLD, "data_offsets"], [10**4000, 10**4000 + 8]), "the bytes of 'a.w.(old|values)' begin at 1"),
    (changed([VALUES, "data_offsets"], [24, 32]), "'a.w.values' begin at 24, and those before it end at 16"),
    (changed([OLD, "more"], 1), "'a.w.old' is no row of numbers"),
    (changed([OLD], "F32"), "'a.w.old' is no row of numbers"),
    (lambda header, data: (header, data + b"\0"), "it has 25 bytes of numbers, and its header tells of 24"),
    (lambda header, data: (header, data[:-1]), "it has 23 bytes of numbers, and its header tells of 24"),
    (lambda header, data: ({TEXTS: header[TEXTS]}, b""), "it changes nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), AMISS)
def test_a_file_is_refused_as_a_whole_in_one_sentence(change, message, tmp_path):
    path = tmp_path / "fix"
    path.write_bytes(forged(*plain()))
    assert Patch.load(path).new.tolist() == [0.75, -0.125]
    path.write_bytes(forged(*change(*plain())))
    with pytest.raises(PatchError, match=message) as error:
        Patch.load(path)
    assert str(error.value).startswith(f"{path} cannot be read as a patch: ")
    assert len(str(error.value)) < len(str(path)) + 300


def renamed(name):
    """A plain file whose tensor has another name."""
    header, data = plain()
    return json.dumps(header).replace("a.w.", f"{name}."), data


ODD = [b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"a":', b"{" + b'"a":[' * 100_000, b'{"a":' * 100_000]
TWICE = b'{"__metadata__":{"format":"bgd-patch","format":"bgd-patch"}}'


@pytest.mark.parametrize(
    "header", [*ODD, TWICE, b'{"a":1,"a":1}', b'{"a":' + b"9" * 5_000 + b"}", b'{"\\ud800":1}']
)
def test_headers_that_are_no_header_are_refused(header, tmp_path):
    (tmp_path / "fix").write_bytes(forged(header, b""))
    with pytest.raises(PatchError, match="header"):
        Patch.load(tmp_path / "fix")


@pytest.mark.parametrize("name", ["", "\\u0000", "a\\nb", "\\u202e", " \\t"])
def test_names_that_show_as_something_else_are_refused(name, tmp_path):
    header, data = renamed(name)
    (tmp_path / "fix").write_bytes(forged(header.encode(), data))
    with pytest.raises(PatchError, match="is no name of a tensor"):
        Patch.load(tmp_path / "fix")
    header, data = renamed("Gewöhnlich.重み")
    (tmp_path / "fix").write_bytes(forged(header.encode(), data))
    assert Patch.load(tmp_path / "fix").tensors == ["Gewöhnlich.重み"]


def test_tensors_of_two_types_or_too_many_numbers_are_no_patch(tmp_path):
    header, data = plain()
    for row, kind, size in (("indices", "I32", 4), ("old", "F64", 8), ("values", "F64", 8)):
        end = len(data) + size
        header[f"b.{row}"] = {"dtype": kind, "shape": [1], "data_offsets": [len(data), end]}
        data += bytes(size)
    header[TEXTS]["b.shape"] = "[]"
    (tmp_path / "fix").write_bytes(forged(header, data))
    with pytest.raises(PatchError, match="its tensors are in float32 and float64: one type is needed"):
        Patch.load(tmp_path / "fix")
    header, _ = plain()
    half, more = struct.pack("<2q", 1, 5), bytes(16)
    for at, name in enumerate(("a.w", "b")):
        spans = {"indices": ("I64", 0, 16), "old": ("F32", 16, 24), "values": ("F32", 24, 32)}
        for row, (kind, first, last) in spans.items():
            offsets = [32 * at + first, 32 * at + last]
            header[f"{name}.{row}"] = {"dtype": kind, "shape": [2], "data_offsets": offsets}
        header[TEXTS][f"{name}.shape"] = f"[{1 << 62}]"
    (tmp_path / "fix").write_bytes(forged(header, (half + more) * 2))
    with pytest.raises(PatchError, match="numbers or more together"):
        Patch.load(tmp_path / "fix")


def test_values_that_are_no_numbers_are_values(tmp_path):
    """A network may hold them, and a revert has to give them back."""
    header, data = plain()
    odd = struct.pack("<4I", 0x7FC00001, 0x80000000, 0x7F800000, 0xFFC00002)  # NaN, -0, infinity, another NaN
    (tmp_path / "fix").write_bytes(forged(header, data[:8] + odd))
    loaded = Patch.load(tmp_path / "fix")
    assert torch.cat([loaded.old, loaded.new]).numpy().tobytes() == odd


def outcome(content):
    """The patch in a file's bytes, or None where they are refused; anything else is an error of the test."""
    try:
        return Patch.of_parts(*decoded(bytes(content)))
    except PatchError:
        return None


def bytes_in(patch):
    return bytes(encoded(patch.parts(), patch.metadata))


def test_a_file_cut_off_or_altered_anywhere_is_refused():
    model, patch = documented()
    whole, stream = bytes_in(patch.hashed(model)), rng.stream(0, "altered")
    for end in range(len(whole)):
        assert outcome(whole[:end]) is None, end
    for at, flip in enumerate(stream.integers(1, 256, size=len(whole)).tolist()):
        altered = bytearray(whole)
        altered[at] ^= flip
        assert outcome(altered) is None, (at, flip)
    for content in (whole + b"\0", whole * 2, b"", whole[8:]):
        assert outcome(content) is None
    assert same(outcome(whole), patch)


STRANGE = [
    None,
    True,
    -1,
    0,
    1 << 31,
    1 << 63,
    10**30,
    0.5,
    "",
    "[]",
    "\0",
    [],
    [1],
    {},
    {"a": 1},
    "I64",
    "1",
]


def mutated(value, stream):
    """A header with one thing in it replaced, removed or given another name."""
    if not isinstance(value, (dict, list)) or not value or stream.random() < 0.15:
        return STRANGE[int(stream.integers(len(STRANGE)))]
    key = (
        list(value)[int(stream.integers(len(value)))]
        if isinstance(value, dict)
        else int(stream.integers(len(value)))
    )
    if stream.random() < 0.1:
        del value[key]
    elif stream.random() < 0.1 and isinstance(value, dict):
        value[f"{key}{STRANGE[int(stream.integers(len(STRANGE)))]}"] = value.pop(key)
    else:
        value[key] = mutated(value[key], stream)
    return value


def variants(whole, stream):
    """Bytes flipped in a file that is sealed again, changed headers, other numbers, random bytes."""
    for _ in range(400):
        altered = bytearray(whole)
        for at in stream.integers(len(whole), size=int(stream.integers(1, 4))):
            altered[at] ^= int(stream.integers(1, 256))
        yield sealed(bytes(altered))
    for _ in range(600):
        header, data = plain()
        yield forged(mutated(header, stream), data)
    for _ in range(100):
        length, (header, data) = int(stream.integers(200)), plain()
        yield stream.bytes(length)
        yield forged(b"{" + stream.bytes(length), stream.bytes(length))
        yield forged(header, data[:8] + stream.bytes(16))
        yield forged(header, stream.bytes(24))


def test_whoever_makes_the_checksum_right_gets_a_patch_or_a_refusal():
    model, patch = documented()
    whole, accepted = bytes_in(patch.hashed(model)), 0
    for content in variants(whole, rng.stream(0, "sealed")):
        found = outcome(content)
        if found is not None:
            accepted += 1
            again = outcome(bytes_in(found))
            assert same(again, found)
            assert (again.metadata, again.hashes) == (found.metadata, found.hashes)
    assert 100 < accepted < 400, "the mutations reach beyond the checksum, and most are refused"


def test_what_a_header_claims_costs_no_memory(tmp_path):
    path = tmp_path / "fix"
    huge = changed([OLD], {"dtype": "F64", "shape": [1 << 50], "data_offsets": [8, 8 + (8 << 50)]})
    files = [struct.pack("<Q", length) + b"{" * 20 for length in (1 << 63, (1 << 64) - 1, 1 << 40, 21)]
    for content in (*files, forged(*huge(*plain()))):
        path.write_bytes(content)
        tracemalloc.start()
        with pytest.raises(PatchError, match=r"it tells of a header of|'a.w.values' begin at 16, and those"):
            Patch.load(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20


def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(PatchError, match="it is no plain file"):
            Patch.load(path)
    with pytest.raises(FileNotFoundError):
        Patch.load(tmp_path / "nothing")
