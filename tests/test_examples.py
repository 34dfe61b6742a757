"""The examples run as they are; `make examples` runs the one of a public bug too, which needs a package index."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.examples import EXAMPLES

FOLDER = Path(__file__).parents[1] / "examples"
WRITES = {  # where no network is needed: its files, and some of its words
    "mnist_error": ({"fix.safetensors"}, "every parameter is what it was: True"),
    "torchvision_model": ({"model.pt", "fix.safetensors", "frontier.png"}, "With the change: patched"),
    "row_of_fixes": ({"fixes.stack", "all.safetensors"}, "Undone: fix 2 (report 2)"),
    "own_method": ({"frontier.png"}, "| sign_steps, 5 "),
}


@pytest.fixture
def example(monkeypatch):
    """Run an example in this process, as `python examples/NAME.py FOLDER` does."""

    def run(name, folder):
        monkeypatch.setattr(sys, "argv", [name, str(folder)])
        return runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")

    monkeypatch.syspath_prepend(str(FOLDER))
    yield run
    for helper in ("digits", "magika_files"):
        sys.modules.pop(helper, None)


def test_all_are_run_and_each_says_how():
    said = {
        path.stem
        for path in FOLDER.glob("*.py")
        if f"python examples/{path.name} [FOLDER]" in path.read_text()
    }
    assert said == set(EXAMPLES) == {*WRITES, "public_bug"}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITES)
def test_it_runs_and_writes_into_its_folder_alone(name, example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example(name, tmp_path / "place" / "own")
    files, words = WRITES[name]
    assert {path.name for path in (tmp_path / "place" / "own").iterdir()} == files
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert words in capsys.readouterr().out


def test_without_a_package_index_the_public_bug_is_one_sentence(example, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1))
    with pytest.raises(SystemExit, match="cannot be fetched: a package index is needed"):
        example("public_bug", tmp_path)


def test_what_the_public_bugs_model_sees(example):
    seen = runpy.run_path(str(FOLDER / "magika_files.py"))["seen"]
    short, long = seen([b"  ab\n", b" " * 3000 + b"x" * 2000 + b"y" * 2000 + b"\n"])
    assert short.tolist() == [*b"ab\n", *[256] * 2041, *b"  ab"]
    assert long.tolist() == [*b"x" * 1024, *b"y" * 1024]
