"""Generated inputs: what they are, and the same each time."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bgd import rng
from experiments.public_bugs import scripts
from experiments.public_bugs.files import MAKERS, split_files
from experiments.public_bugs.kinds import PADDING, SIDE, Rule, ends
from experiments.public_bugs.lines import lines
from experiments.public_bugs.tones import RATE, tones
from experiments.public_bugs.words import mash

ROOT = Path(__file__).parents[2]
SPLITS = {"held_out": 50, "keep": 30, "aside": 20}


def test_a_tone_has_the_pitch_that_is_said():
    audio, cents = tones(rng.stream(0, "a"), 20)
    assert audio.shape == (20, 1024)
    for wave, pitch in zip(audio.double(), 10 * 2 ** (cents / 1200), strict=True):
        # A harmonic sound is the same a period later: there its correlation with itself is high.
        period = RATE / float(pitch)
        shift = round(period)
        same = torch.corrcoef(torch.stack([wave[:-shift], wave[shift:]]))[0, 1]
        assert same > 0.5
        assert 80 <= float(pitch) <= 1000


def test_the_same_stream_gives_the_same_inputs():
    for make in (mash, scripts.shell_script, scripts.cue_sheet, *MAKERS.values()):
        assert make(rng.stream(3, "x")) == make(rng.stream(3, "x"))
        assert len(make(rng.stream(3, "x"))) >= 16
    first, again = (lines(rng.stream(3, "x"), 3) for _ in range(2))
    assert first[1] == again[1]
    assert all(np.array_equal(*pair) for pair in zip(first[0], again[0], strict=True))


def test_generated_files_are_of_their_type():
    made = {kind: make(rng.stream(0, kind)) for kind, make in MAKERS.items()}
    json.loads(made["json"])
    zipfile.ZipFile(io.BytesIO(made["zip"])).testzip()
    for kind in ("png", "jpeg", "gif", "bmp", "tiff", "webp"):
        assert Image.open(io.BytesIO(made[kind])).format.lower() == kind
    assert np.load(io.BytesIO(made["npy"])).shape == (20, 10)


def test_splits_of_files_share_none(tmp_path, monkeypatch):
    for at in range(30):
        (tmp_path / f"{at}.txt").write_text(f"file number {at}, long enough")
    (tmp_path / "short.txt").write_text("short")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "no library"))
    monkeypatch.setattr("experiments.public_bugs.files.SPLITS", SPLITS)
    monkeypatch.setattr("experiments.public_bugs.files.MADE", 4)
    splits = split_files([tmp_path], 0)
    assert {split: len(part) for split, part in splits.items()} == SPLITS
    every = [content for part in splits.values() for content in part]
    assert len(set(every)) == len(every) == 100 < 30 + 4 * len(MAKERS)
    assert b"short" not in every
    assert splits == split_files([tmp_path], 0) != split_files([tmp_path], 1)


@pytest.mark.parametrize(
    "content", [b"abc", b"  abc \n", b"x" * 5000, b" " * 300 + b"y" * 900 + b"\n" * 3000 + b"z"]
)
def test_the_ends_of_a_file_are_those_that_the_package_takes(content):
    found = ends(content).tolist()
    first, last = content[:4096].lstrip()[:SIDE], content[-4096:].rstrip()[-SIDE:]
    assert found[:SIDE] == list(first) + [PADDING] * (SIDE - len(first))
    assert found[SIDE:] == [PADDING] * (SIDE - len(last)) + list(last)


def test_what_is_not_likely_enough_is_plain_text():
    rule = Rule(
        {
            "target_labels_space": ["shell", "sql", "txt"],
            "thresholds": {"sql": 0.9},
            "medium_confidence_threshold": 0.5,
        }
    )
    chances = {
        "sure": [0.6, 0.2, 0.2],
        "unsure": [0.45, 0.3, 0.25],
        "sql": [0.1, 0.8, 0.1],
        "txt": [0.3, 0.3, 0.4],
    }
    logits = {name: torch.tensor([each]).log() for name, each in chances.items()}
    assert rule.holds(logits["sure"], 0)
    assert not rule.holds(logits["unsure"], 0)
    assert not rule.holds(logits["sql"], 1)
    assert rule.holds(logits["txt"], 2)
