"""Base networks from a release: the listed ones are taken, another is refused with both sums, the rest are trained."""

import logging

import pytest

from bgd.errors import ConfigError
from experiments.mnist import release, training
from experiments.mnist.errors import DataError
from experiments.mnist.networks import MLP
from experiments.mnist.training import Recipe
from experiments.records.files import sha256

RECIPE = Recipe(epochs=1, learning_rate=0.02)
ID = "0123456789abcdef"


@pytest.fixture
def given(tmp_path, tiny, monkeypatch):
    """A folder with one released N0, listed; no training takes place after it was made."""
    monkeypatch.setattr(release, "LISTED", tmp_path / "listed")
    base = training.obtain(tmp_path / "maker", ID, MLP, RECIPE, tiny)
    release.enlist(tmp_path / "maker", [ID, "not-there"])
    monkeypatch.setattr(training, "train", lambda *_, **__: pytest.fail("it was trained"))
    return base


def test_a_listed_network_is_taken_kept_and_the_same(given, tmp_path, tiny):
    base = training.obtain(tmp_path / "own", ID, MLP, RECIPE, tiny, release=tmp_path / "maker")
    assert (base.sha256, base.errors) == (given.sha256, given.errors)
    assert not base.network.training
    assert training.obtain(tmp_path / "own", ID, MLP, RECIPE, tiny).sha256 == given.sha256
    assert release.is_released(tmp_path / "maker", ID)
    assert not release.is_released(None, ID)


def test_another_file_is_refused_with_its_name_and_both_sums(given, tmp_path, tiny):
    path = tmp_path / "maker" / f"{ID}.pt"
    wanted = sha256(path.read_bytes())
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError) as error:
        training.obtain(tmp_path / "own", ID, MLP, RECIPE, tiny, release=tmp_path / "maker")
    assert all(part in str(error.value) for part in (str(path), wanted, sha256(path.read_bytes())))
    assert not (tmp_path / "own" / f"{ID}.pt").exists()


@pytest.mark.parametrize("lacking", ["file", "line"])
def test_what_is_not_there_or_not_listed_is_trained_and_said(given, tmp_path, caplog, lacking):
    caplog.set_level(logging.INFO)
    if lacking == "file":
        (tmp_path / "maker" / f"{ID}.pt").unlink()
    name = ID if lacking == "file" else "another"
    assert release.released(tmp_path / "maker", name) is None
    assert not release.is_released(tmp_path / "maker", name)
    assert f"N0 {name} is trained" in caplog.text


def test_a_new_list_keeps_the_lines_of_before(given, tmp_path):
    for name, content in (
        ("other.pt", b"weights"),
        ("other.json", b"{}"),
        ("large.pt", bytes(release.SMALL + 1)),
    ):
        (tmp_path / "maker" / name).write_bytes(content)
    release.enlist(tmp_path / "maker", ["other", "large"])
    assert set(release.listed()) == {f"{ID}.pt", "other.pt", "large.pt"}
    assert not (tmp_path / "listed" / "large.pt").exists(), (
        "large files are for a release, not for this repository"
    )


def test_small_networks_are_committed_and_placed_where_there_are_none(given, tmp_path, tiny):
    release.place_committed(tmp_path / "own", [ID, "not-there"])
    base = training.obtain(tmp_path / "own", ID, MLP, RECIPE, tiny)
    assert (base.sha256, base.errors) == (given.sha256, given.errors)
    (tmp_path / "own" / f"{ID}.pt").write_bytes(b"one's own")
    release.place_committed(tmp_path / "own", [ID])
    assert (tmp_path / "own" / f"{ID}.pt").read_bytes() == b"one's own"
    (tmp_path / "listed" / f"{ID}.pt").write_bytes(b"another")
    with pytest.raises(DataError, match="lists"):
        release.place_committed(tmp_path / "elsewhere", [ID])
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"bases_from=.*nowhere"):
        release.bases_folder(tmp_path / "nowhere")
