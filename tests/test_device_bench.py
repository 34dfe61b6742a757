"""The bench of a card: on the CPU with a narrow network, and what it makes of what it finds."""

import json

import pytest

from scripts import device_bench


def found(search, launches, **more):
    return {
        "search": search,
        "evaluation": 0.5,
        "launches": launches,
        "operations": 3 * launches,
        "memory": 1,
    } | more


def test_the_minutes_of_the_profile_are_of_every_method_in_both_settings():
    names = [f"{setting}/{method}" for setting in device_bench.SETTINGS for method in device_bench.METHODS]
    results = {"items": {f"{name}/now": found(0.5, 10) for name in names}}
    assert device_bench.minutes(results, "now") == pytest.approx(18 * 384 * 3 / 60)
    assert device_bench.minutes(results, "before") is None
    results["items"]["reloading/l1/now"] = {"error": "out of memory"}
    assert device_bench.minutes(results, "now") is None


def test_counts_are_compared_where_both_trees_have_one():
    items = {
        "reloading/l1/now": found(1, 10),
        "reloading/l1/before": found(1, 60),
        "reloading/random/now": found(1, 5),
    }
    items["non_reloading/l1/before"] = {"error": "none"}
    assert device_bench.fewer({"items": items}, "reloading", "launches") == 6
    assert device_bench.fewer({"items": items}, "non_reloading", "launches") is None


def test_a_second_start_goes_on_and_a_failure_is_a_result(tmp_path, monkeypatch, capsys):
    measured = []

    def measure(setting, method, tree, options):
        measured.append((setting, method))
        if method == "l1":
            raise RuntimeError("a card that is full")
        return found(0.1, 7)

    monkeypatch.setattr(device_bench, "measure", measure)
    words = ["--device", "cpu", "--tiny", "--output", str(tmp_path), "--methods", "bgd_ii", "l1"]
    assert device_bench.main([*words, "--seconds", "-1"]) == 0
    assert measured == []
    assert "4 are left: start again to go on" in capsys.readouterr().out
    assert device_bench.main(words) == 1
    assert measured == [(setting, method) for setting in device_bench.SETTINGS for method in ("bgd_ii", "l1")]
    assert "reloading/l1/now: failed: a card that is full" in capsys.readouterr().out
    assert device_bench.main(words) == 1
    assert len(measured) == 4
    assert device_bench.main([*words, "--samples", "3"]) == 2
    assert "remove it, or use --output" in capsys.readouterr().err


@pytest.mark.slow
def test_a_method_is_measured_on_the_cpu(tmp_path):
    words = ["--device", "cpu", "--tiny", "--samples", "2", "--output", str(tmp_path), "--methods", "bgd_ii"]
    assert device_bench.main(words) == 0
    items = json.loads((tmp_path / "bench.json").read_text())["items"]
    assert list(items) == ["reloading/bgd_ii/now", "non_reloading/bgd_ii/now"]
    for one in items.values():
        assert one["samples"] == 2
        assert one["launches"] is None
        assert one["operations"] > 10


def test_the_table_has_what_both_trees_launched():
    items = {
        "reloading/bgd_ii/now": found(1, 100),
        "reloading/bgd_ii/before": found(1, 1200),
        "reloading/l1/now": found(1, 5),
        "non_reloading/l1/before": {"error": "none"},
    }
    assert device_bench.table({"items": items})[2:] == ["| reloading | `bgd_ii` | 1,200 | 100 | 12.0 |"]
    assert device_bench.table({"items": {}}) == []


@pytest.mark.slow
def test_a_method_is_counted_on_a_card_that_is_not_there(tmp_path):
    words = ["--device", "pretended", "--tiny", "--samples", "2", "--output", str(tmp_path)]
    assert device_bench.main([*words, "--methods", "bgd_ii"]) == 0
    for one in json.loads((tmp_path / "bench.json").read_text())["items"].values():
        assert one["samples"] == 2
        assert 10 < one["launches"] < one["operations"]
