"""docs/command-line.md: its commands run, its tables name what there is."""

import re
import shlex
from pathlib import Path

from bgd.cli import arrays, pictures
from bgd.cli.outcome import DONE, FAULT, REFUSED, STOPPED, WRONG
from bgd.cli.parser import COMMANDS
from bgd.methods import METHODS

TEXT = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
KEYS = {
    name: set(re.findall(r"`(\w+)`", keys))
    for names, keys in re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \| (.*) \|$", TEXT.split("keys, besides")[1], re.M
    )
    for name in re.findall(r"\w+", names)
}
QUICK = {  # a command line for each, in the folder of the session
    "correct": "correct net:make wrong.npy --weights net.pt --label 3 --method output_bias --check other.npz:x "
    "--keep keep.npz:x --classes names.txt -o fix.safetensors",
    "effects": "effects fix.safetensors net:make other.npz:x --weights net.pt",
    "verify": "verify fix.safetensors net.pt",
    "apply": "apply fix.safetensors net.pt -o fixed.pt",
    "revert": "revert fix.safetensors fixed.pt -o back.pt",
    "inspect": "inspect fix.safetensors",
    "frontier": "frontier net:make wrong.npy --weights net.pt --label 3 --check other.npz:x --methods output_bias",
    "stack": "stack all.stack net:make --weights net.pt --add fix.safetensors",
    "checks": "checks net:make wrong.npy --weights net.pt",
}


def test_its_commands_run_as_printed(bgd):
    (block,) = re.findall(r"```\n(bgd .*?)```", TEXT, re.S)
    for line in block.strip().splitlines():
        said = bgd(*shlex.split(line)[1:])
        assert said.status == 0, said.err


def test_its_tables_name_every_command_status_file_and_step():
    commands = TEXT.split("| command | what it does |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)", commands)) == set(COMMANDS)
    statuses = {int(each) for each in re.findall(r"^\| (\d+) \|", TEXT, re.M)}
    assert statuses == {DONE, REFUSED, WRONG, FAULT, STOPPED}
    steps = TEXT.split("| step | on | does |")[1].split("\n\n")[0]
    named = {
        each.partition("=")[0]
        for row in re.findall(r"^\| (`.*?) \|", steps, re.M)
        for each in row.strip("`").split("`, `")
    }
    assert named == {*pictures.PICTURE_STEPS, *pictures.NUMBER_STEPS}
    assert {".npy", ".npz", ".pt", ".png", ".jpg"} <= {*arrays.SUFFIXES, *pictures.SUFFIXES}


def test_it_names_every_key_of_every_answer(bgd, monkeypatch):
    monkeypatch.setattr("bgd.cli.checks.ARITHMETICS", ["bfloat16"])
    monkeypatch.setattr("bgd.cli.checks.METHODS", {"output_bias": METHODS["output_bias"]})
    assert set(KEYS) == set(QUICK) == set(COMMANDS)
    for name, line in QUICK.items():
        said = bgd(*line.split(), "--json")
        assert said.status == 0, said.err
        top = set(said.out) - {"command", "status"}
        assert top <= KEYS[name], f"{name}: {top - KEYS[name]}"
        if name in ("effects", "inspect"):
            assert set(said.out[name if name == "effects" else "patch"]) <= KEYS[name]
        if name == "correct":
            assert {"samples", "patch", "keep", "check"} <= top
        if name == "verify":
            assert KEYS[name] - top <= {"base", "patched", "neither"}
