"""What the thesis's methods do to a kept network, against what they did when the goldens were made (golden/make.py)."""

import json

import pytest
from golden.make import HERE, LEAST, METHODS, SAMPLES, decisions, methods, sequence

GOLDEN = json.loads((HERE / "mlp.json").read_text())
CONFIGS = methods()
KEYS = sorted(GOLDEN)


def found(key, nudge=None):
    name, setting = key.split()
    indices = [row["index"] for row in GOLDEN[key]["rows"]]
    return sequence(CONFIGS[name], setting == "non_reloading", indices, nudge)


def test_every_method_of_the_thesis_has_its_golden():
    """The other methods, and the idealized selector, are checked by the contract."""
    assert {f"{name} {setting}" for name in METHODS for setting in ("reloading", "non_reloading")} == set(
        KEYS
    )
    assert all(len(GOLDEN[key]["rows"]) == SAMPLES for key in KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_golden(key):
    rows, margin = found(key)
    golden = GOLDEN[key]["rows"]
    assert decisions(rows) == decisions(golden)
    for row, wanted in zip(rows, golden, strict=True):
        for name, value in wanted.items():
            if isinstance(value, float):
                assert row[name] == pytest.approx(value, rel=1e-8, abs=1e-12), (wanted["index"], name)
    assert margin == pytest.approx(GOLDEN[key]["margin"], rel=0.01)


@pytest.mark.parametrize("key", KEYS)
def test_no_decision_of_a_golden_is_close_to_a_tie(key):
    """Neither by its own account nor where the network is another by far more than a processor's rounding."""
    assert GOLDEN[key]["margin"] >= LEAST
    assert decisions(found(key, nudge=1000)[0]) == decisions(GOLDEN[key]["rows"])
