"""`make test-anywhere`: what each machine is held to, what a setting changes, and a test that fails on one of them."""

import pytest
import torch

from scripts import test_anywhere as anywhere

MACHINES = {machine.name: machine for machine in anywhere.MACHINES}


def test_the_machines_are_those_of_the_documentation():
    text = (anywhere.ROOT / "docs" / "portability.md").read_text()
    assert all(f"`{name}`" in text for name in MACHINES)
    assert all(f"`{setting}`" in text for machine in anywhere.MACHINES for setting in machine.settings)
    assert {machine.threads for machine in anywhere.MACHINES} == {1, 2}


def test_no_setting_from_outside_reaches_a_machine(monkeypatch):
    for name in anywhere.NOT_KEPT:
        monkeypatch.setenv(name, "of somebody else")
    assert not set(anywhere.NOT_KEPT) & set(MACHINES["native"].environment())
    environment = MACHINES["SSE4"].environment()
    assert (environment["MKL_ENABLE_INSTRUCTIONS"], environment["OMP_NUM_THREADS"]) == ("SSE4_2", "2")
    assert anywhere.BASELINE not in environment.values(), "NumPy's own names stand for it"


@pytest.mark.slow
def test_the_pretended_processor_changes_bits_and_the_native_one_has_its_own():
    native, pretended = (anywhere.bits_on(MACHINES[name]) for name in ("native", "pretended"))
    assert native["capability"] == torch.backends.cpu.get_cpu_capability()
    assert {"product", "convolution", "exponential"} <= set(anywhere.differing(pretended, native))


@pytest.mark.parametrize(
    "found", [{"capability": "AVX512", "threads": "1"}, {"capability": "AVX2", "threads": "2"}]
)
def test_a_setting_that_is_not_taken_is_an_error(found, monkeypatch):
    native = {"capability": "AVX512", "threads": "1", "product": "0"}
    monkeypatch.setattr(anywhere, "bits_on", lambda machine: {**native, **found})
    with pytest.raises(
        SystemExit, match=r"AVX2: torch's (capability is AVX512, not AVX2|threads is 2, not 1) as"
    ):
        anywhere.checked(MACHINES["AVX2"], native)


def test_it_is_said_which_results_a_setting_changes(monkeypatch, capsys):
    native = {"capability": "AVX512", "threads": "1", "product": "0", "sum": "0"}

    def bits_on(machine):
        changed = {"product": "1"} if "MKL_ENABLE_INSTRUCTIONS" in machine.settings else {}
        return {**native, "capability": "AVX2", **changed}

    monkeypatch.setattr(anywhere, "bits_on", bits_on)
    assert anywhere.checked(MACHINES["AVX2"], native) == ["product"]
    assert "MKL_ENABLE_INSTRUCTIONS=AVX2 changes product\n" in capsys.readouterr().out


FRAGILE = """
import pytest, torch
@pytest.mark.numeric
def test_two_ways_to_a_product():
    values = torch.rand(30, 40) - 0.5
    assert torch.equal(values @ values.T, torch.stack([row @ values.T for row in values]))
"""


@pytest.mark.slow
def test_a_test_that_asks_two_computations_for_equal_bits_fails(tmp_path, capfd):
    (tmp_path / "test_fragile.py").write_text(FRAGILE)
    options = ["-p", "conftest", "-c", str(anywhere.ROOT / "pyproject.toml"), str(tmp_path)]
    result = anywhere.run(MACHINES["pretended"], [], options, 1, anywhere.Progress("pretended", 0, 1, 0.0))
    assert (result.status, result.counts) == (1, {"failed": 1})
    assert "test_two_ways_to_a_product" in capfd.readouterr().out


def test_a_pytest_that_ends_before_its_tests_is_a_failure():
    result = anywhere.Result(MACHINES["AVX2"], [], {}, 4, 1.0)
    assert "pytest ended with 4" in result.cells()
    assert "nothing: proves nothing" in anywhere.table([result])
