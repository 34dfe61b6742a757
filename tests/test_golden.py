"""What every method does to a kept network, against what it did when the goldens were made (tests/golden/make.py)."""

import json

import pytest
from golden.make import HERE, methods, rows

GOLDEN = json.loads((HERE / "mlp.json").read_text())
METHODS = methods()


def test_every_method_has_its_golden():
    """A method without one is checked by the contract; those of the thesis have both."""
    assert {key.split()[0] for key in GOLDEN} <= set(METHODS)
    assert {"bgd_ii", "bgd_i", "bgd_c", "bgd_norm", "retrain"} <= {key.split()[0] for key in GOLDEN}


@pytest.mark.parametrize("key", sorted(GOLDEN))
def test_golden(key):
    name, setting = key.split()
    found = rows(METHODS[name], setting == "non_reloading")
    assert len(found) == len(GOLDEN[key])
    for row, golden in zip(found, GOLDEN[key], strict=True):
        for name, value in golden.items():
            expected = pytest.approx(value, rel=1e-4, abs=1e-7) if isinstance(value, float) else value
            assert row[name] == expected, f"{name} of sample {golden['index']}"
