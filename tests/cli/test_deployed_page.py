"""docs/deployed.md and the README's public bug: their commands run, in order, on a small model in place of magika's."""

import re
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from bgd.deployed import OnnxModel
from bgd.methods import METHODS

ROOT = Path(__file__).parents[2]
PAGE, README = (ROOT / "docs" / "deployed.md").read_text(), (ROOT / "README.md").read_text()
LOOKS = ("checks", "frontier")  # run every method; nothing after them needs them


def commands(text):
    return [shlex.split(line)[1:] for line in re.findall(r"^bgd .*$", text, re.M)]


@pytest.fixture
def magika(here):
    """Files of the names that examples/magika_files.py writes, of another model."""
    shutil.copy("net.onnx", "model.onnx")
    shutil.copy("wrong.npy", "mash.npy")
    for name, source in (("keep", "keep.npz"), ("check", "other.npz")):
        np.save(f"{name}.npy", np.load(source)["x"])
    Path("types.txt").write_text(Path("names.txt").read_text().replace("three", "txt"))
    return here


def test_the_page_runs_from_the_report_to_the_library(bgd, magika, monkeypatch, capsys):
    for words in commands(PAGE):
        if words[0] not in LOOKS:
            said = bgd(*words)
            assert said.status == 0, f"{words}\n{said.err}"
    assert Path("back.onnx").read_bytes() == Path("model.onnx").read_bytes()
    assert Path("fixed.onnx").stat().st_size == Path("model.onnx").stat().st_size
    types, mash = Path("types.txt").read_text().split(), torch.from_numpy(np.load("mash.npy"))
    shipped = magika / "package" / "models" / "standard_v3_3"
    shipped.mkdir(parents=True)
    shutil.copy("model.onnx", shipped)

    class Magika:
        def __init__(self, model_dir=shipped):
            self.file = OnnxModel.open(model_dir / "model.onnx")

        def identify_bytes(self, content):
            label = types[int(self.file.outputs(mash).argmax())]
            return SimpleNamespace(output=SimpleNamespace(label=label))

    library = ModuleType("magika")
    library.__file__, library.Magika = str(magika / "package" / "__init__.py"), Magika
    monkeypatch.setitem(sys.modules, "magika", library)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(code, {})
    before, after = capsys.readouterr().out.split()
    assert before != "txt" == after


@pytest.mark.slow
def test_what_the_page_looks_at_beforehand(bgd, magika):
    for words in commands(PAGE):
        if words[0] in LOOKS:
            assert bgd(*words).status == 0


def test_the_readme_corrects_it_in_one_command(bgd, magika):
    (words,) = commands(README)
    assert set(words) <= set(next(each for each in commands(PAGE) if each[0] == "correct"))
    assert bgd(*words).status == 0


def test_the_table_of_the_page_is_of_its_command():
    (words,) = (each for each in commands(PAGE) if each[0] == "frontier")
    table = PAGE.split("<!-- frontier:begin -->")[1].split("<!-- frontier:end -->")[0]
    named = {row.split("|")[1].strip() for row in table.strip().splitlines()[2:]}
    assert named == set(words[words.index("--methods") + 1].split(",")) <= set(METHODS)


def test_both_tell_the_same_figures():
    shown = re.findall(
        r"^mash.npy: .*$|\d+ of \d+ inputs change class: 1 from .*? to \w+|\[215, 75\]", README, re.M
    )
    assert len(shown) == 3
    for figures in shown:
        assert figures in PAGE
    (flips,) = re.findall(r"no say: (\d+) of", README)
    assert f"| least_harm | keep set | 1 | {flips} |" in PAGE
