"""Pinned packages: by checksum, as pip is set up, and nothing is downloaded here."""

import io
import re
import subprocess
import tarfile
import zipfile
from types import SimpleNamespace

import pytest

from experiments.public_bugs import fetch
from experiments.public_bugs.fetch import PINS, FetchError, Package, fetched, pin, pins
from experiments.public_bugs.subjects import FILES, SUBJECTS
from experiments.records.files import sha256


def test_every_file_is_pinned_by_version_and_checksum():
    every = [*pins().values(), *(need for package in pins().values() for need in package.needs.values())]
    assert len(every) > 15
    for each in every:
        assert re.fullmatch(r"[0-9a-f]{64}", each.sha256)
        assert re.fullmatch(r"[\d.]+", each.version)
    assert {*SUBJECTS, *FILES} <= set(pins())
    assert "://" not in PINS.read_text()


def wheel():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tiny/__init__.py", "word = 'said'\n")
    return buffer.getvalue()


def source():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("tiny-1.0/tiny/__init__.py")
        entry.size = len(b"word = 'said'\n")
        archive.addfile(entry, io.BytesIO(b"word = 'said'\n"))
    return buffer.getvalue()


@pytest.fixture
def pip(monkeypatch):
    """A pip that gives one file; what it was asked for."""
    asked = []

    def give(content, name, code=0, said=""):
        def run(command, **_):
            asked.append(command)
            target = command[command.index("--dest") + 1]
            if not code:
                fetch.Path(target).mkdir()
                (fetch.Path(target) / name).write_bytes(content)
            return SimpleNamespace(returncode=code, stderr=said)

        monkeypatch.setattr(subprocess, "run", run)
        package = Package("1.0", sha256(content), source=name.endswith("gz"))
        monkeypatch.setattr(fetch, "pins", lambda: {"tiny": package})

    return SimpleNamespace(give=give, asked=asked)


@pytest.mark.parametrize(
    ("content", "name"), [(wheel(), "tiny-1.0-py3-none-any.whl"), (source(), "tiny-1.0.tar.gz")]
)
def test_a_package_is_fetched_once_and_unpacked(pip, tmp_path, content, name):
    pip.give(content, name)
    folder = fetched("tiny", tmp_path)
    assert (folder / "tiny" / "__init__.py").read_text() == "word = 'said'\n"
    assert fetched("tiny", tmp_path) == folder
    assert [path for path in tmp_path.iterdir()] == [folder]
    (command,) = pip.asked
    assert "--no-deps" in command
    assert not [word for word in command if "index" in word or "://" in word]


def test_another_file_is_refused_and_nothing_stays(pip, tmp_path, monkeypatch):
    pip.give(wheel(), "tiny-1.0-py3-none-any.whl")
    monkeypatch.setattr(fetch, "pins", lambda: {"tiny": Package("1.0", "0" * 64)})
    with pytest.raises(FetchError, match=f"its SHA-256 is .*, and {'0' * 64} is pinned"):
        fetched("tiny", tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_pip_says_is_said(pip, tmp_path):
    pip.give(b"", "", code=1, said="WARNING: old\nERROR: No matching distribution found for tiny==1.0")
    with pytest.raises(FetchError, match=r"tiny==1.0: pip cannot fetch it: ERROR: No matching distribution"):
        fetched("tiny", tmp_path)


def test_a_package_that_is_not_pinned_names_the_nearest():
    with pytest.raises(ValueError, match="package='magicka': not pinned; did you mean 'magika'"):
        pin("magicka")
