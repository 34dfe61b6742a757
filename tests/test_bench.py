import json
import re

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch.utils.flop_counter import FlopCounterMode

from bgd import rng
from bgd.errors import ConfigError
from bgd.methods import momentum
from bgd.methods.base import Correction
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.descent import SampleDescent
from bgd.methods.top_k import TopK
from experiments.config.groups import CONF
from experiments.config.spec import RunSpec
from experiments.mnist.networks import MLP, AlexNet
from scripts.bench import (
    against,
    checkout,
    commands,
    descents,
    evaluation,
    growth,
    large,
    machine,
    methods,
    obvious,
    options,
    report,
    small,
    subjects,
    tables,
    tree,
)
from scripts.bench.__main__ import main
from scripts.bench.machine import Machine

HERE = Machine("a processor", "2", 1, 1, {1: 1e11}, 1e10, 0.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A bench in seconds: small matrices, two of the methods, one preset."""
    monkeypatch.setattr(machine, "SIZES", (32,))
    monkeypatch.setattr(machine, "COPIED", 1000)
    monkeypatch.setattr(
        methods, "methods_of", lambda name: {"bgd_ii": SubsetSearch(), "retrain": SampleDescent(5)}
    )


@pytest.fixture(scope="module")
def narrow():
    with rng.torch_seeded(rng.stream(0, "init")):
        network = AlexNet(width=0.1)
    return subjects.tiny_subject("alexnet", 64, 2, 2**30, network)


def test_work_is_counted_from_the_shapes():
    work = subjects.work_of(AlexNet(), torch.zeros(1, 1, 28, 28))
    assert work["conv1"] == 26 * 26 * 32 * 25
    assert work["lin3"] == 10_240
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        AlexNet()(torch.zeros(1, 1, 28, 28))
    assert 2 * sum(work.values()) == counter.get_total_flops() == 92_700_928
    assert sum(subjects.work_of(MLP(), torch.zeros(1, 1, 28, 28)).values()) == 784 * 12 + 12 * 8 + 8 * 10


def test_what_an_edit_cannot_avoid_lies_behind_the_layer_after_it(narrow):
    assert narrow.floor("lin3") == narrow.floor("lin2") == 0
    behind = sum(narrow.work[name] for name in ("conv3", "conv4", "conv5", "lin1", "lin2", "lin3"))
    assert narrow.floor("conv1") == pytest.approx(behind / sum(narrow.work.values()))


def test_edits_move_so_many_weights_of_a_layer_and_back(narrow):
    for there, back in narrow.edits("conv3", 5):
        assert len(there) == len(back) == 5
        assert there.tensors == ["conv3.weight"]
        flat = torch.cat([parameter.detach().flatten() for parameter in narrow.network.parameters()])
        moved = flat.clone()
        there.apply(moved)
        back.apply(moved)
        assert torch.equal(moved, flat)


def test_evaluation_finds_every_layer_and_leaves_the_network_alone(narrow, capsys):
    before = [parameter.clone() for parameter in narrow.network.parameters()]
    found = evaluation.bench(narrow, HERE)
    assert [(row["edit"], row["weights"]) for row in found["rows"]][:2] == [("lin3", 1), ("lin3", 5)]
    assert {row["edit"] for row in found["rows"]} == {*narrow.work, "lin2, all of it"}
    assert all(
        row["reloading_ratio"] == pytest.approx(row["full"] / row["reloading"]) for row in found["rows"]
    )
    assert all(torch.equal(*pair) for pair in zip(before, narrow.network.parameters(), strict=True))
    assert "targets are of 64,000 images; these are 64" in capsys.readouterr().out


def test_descents_take_the_same_steps_as_the_plain_way(narrow, monkeypatch, capsys):
    monkeypatch.setattr(momentum, "SMALLEST", 0)
    monkeypatch.setattr(descents, "METHODS", ("l2_sp", "lora"))
    found = descents.bench(narrow)["methods"]
    assert list(found) == ["l2_sp", "lora"]
    assert all(one["same"] == one["samples"] == 2 and one["ratio"] > 0 for one in found.values())
    assert "2 of 2" in capsys.readouterr().out


def test_a_step_of_a_descent_is_in_networks_that_a_copy_reads_and_writes(narrow, monkeypatch):
    size = sum(parameter.nbytes for parameter in narrow.network.parameters())
    corrections = [Correction(None, 0, steps) for steps in (2, 5, 10)]
    monkeypatch.setattr(descents, "bandwidth", lambda: 10.0 * size)  # networks a second
    monkeypatch.setattr(descents, "_measured", lambda *_: ([1.0, 2.0, 3.0], corrections))
    monkeypatch.setattr(descents, "METHODS", ("l2_sp",))
    assert descents.bench(narrow)["methods"]["l2_sp"]["networks_a_step"] == pytest.approx(10 * 0.4)


def test_a_difference_between_the_two_ways_is_an_error(narrow):
    full = narrow.full()
    (one, _), (other, _) = narrow.edits("lin3", 1)[0], narrow.edits("lin3", 5)[0]
    evaluation.check(full.after(one), full.after(one), "an edit")
    with pytest.raises(evaluation.Different, match=r"an edit: the mean loss is .* by the full pass"):
        evaluation.check(full.after(one), full.after(other), "an edit")


@pytest.mark.parametrize("method", [SubsetSearch(), SubsetSearch(prune=False), TopK(step=0.5)])
def test_the_obvious_search_finds_the_same(problem, samples, method):
    for sample in samples[:4]:
        found = []
        for correct in (
            lambda *given: method.correct(*given).patch,
            lambda *given: obvious.correct(method, *given),
        ):
            with problem.trying() as trial:
                found.append(correct(trial, sample, rng.stream(0, "method", sample.index)))
            with problem.trying() as trial:
                assert torch.equal(trial.flat, trial.original)
        assert obvious.same(*found)


def test_a_ledger_undoes_what_was_written():
    flat = torch.arange(6.0)
    original, ledger = flat.clone(), obvious.Ledger(flat)
    ledger[[1, 4]] += torch.tensor([1.0, 2.0])
    assert flat.tolist() == [0, 2, 2, 3, 6, 5]
    ledger.copy_(original)
    assert torch.equal(flat, original)


def test_the_whole_bench(tmp_path, capsys):
    parts = [
        part for part in options.PARTS if part not in ("large", "against", "descents", "commands")
    ]  # a checkout; AlexNet; whole processes
    arguments = ["--networks", "mlp", "--images", "64", "--samples", "2", "--threads", "1"]
    arguments += ["--parts", ",".join(parts)]
    assert main([*arguments, "--data", str(tmp_path), "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("plan: evaluation, search, small, methods, growth; mlp on 64 images, 2 samples")
    for part in parts:
        found = json.loads((tmp_path / "bench" / f"{part}.json").read_text())
        assert found["machine"]["threads"] == 1
        assert [one["network"] for one in found["networks"]] == ["mlp"]
    assert (tmp_path / "bench" / "growth.png").stat().st_size > 10_000


def test_growth_has_a_point_for_each_width(narrow, monkeypatch, tmp_path):
    monkeypatch.setattr(growth, "WIDTHS", (0.05, 0.1))
    monkeypatch.setattr(growth, "WIDTH_IMAGES", 10)
    found = growth.bench(narrow, HERE)
    fewest, most = (point["at"] for point in found["axes"]["parameters"])
    assert most == sum(parameter.numel() for parameter in narrow.network.parameters()) > fewest
    assert [point["at"] for point in found["axes"]["images"]] == [16, 64]
    assert growth.draw([found], HERE, tmp_path).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "evalution"], "did you mean 'evaluation'?"),
        (["--networks", "alexnett"], "did you mean 'alexnet'?"),
        (["--parts", ","], "--parts: choose some of evaluation"),
        (["--images", "5"], "--images 5: must be at least 10"),
        (["--repeats", "0"], "--repeats 0: must be at least 1"),
        (["--rows", "serch"], "did you mean 'search'?"),
        (["--samples", "0"], "--samples 0: must be at least 1"),
        (["--threads", "-1"], "--threads -1: must be at least 1"),
        (["--full", "--images", "100"], "give one of them"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_said(arguments, message, capsys):
    with pytest.raises(SystemExit):
        options.parse(arguments)
    assert message in capsys.readouterr().err


def test_numbers_are_short():
    assert [tables.milliseconds(value) for value in (0.0000123, 0.00123, 0.123, 12.3)] == [
        "0.0123",
        "1.23",
        "123",
        "12,300",
    ]
    assert [tables.times(value) for value in (0.5, 12.34, 1234, None)] == ["0.50x", "12.3x", "1,234x", "-"]
    assert [tables.percent(value) for value in (0.5, 20.0)] == ["50 %", "20.0x"]


ROW = {"index": 3, "outcome": "corrected", "patch": None, "layers": {"lin1.weight": [2, 0.1, 0.2]}}


def measured(search, evaluation=1.0, **changed):
    row = ROW | {"search_seconds": search, "evaluation_seconds": evaluation} | changed
    return tree.Measured(wall=2 * search, cpu=search, peak=2**30, rows=(row, row))


def test_a_line_compares_medians_of_the_same_rows():
    (work,) = [work for work in against.WORKS if work.name == "search"]
    now = [measured(0.2), measured(0.1), measured(0.9, layers={"lin1.weight": [3, 0.1, 0.2]})]
    before = [measured(2.0, 3.0)] * 3
    line = against._line(work, "bgd_i", "search", 15, now, before)
    assert (line["before"], line["now"], line["ratio"], line["holds"]) == (2.0, 0.2, 10.0, False)
    assert (line["wall_ratio"], line["peak"], line["same"]) == (10.0, 2**30, 2)
    assert against._line(work, "bgd_i", "both", 4, now, before)["ratio"] == pytest.approx(5.0 / 1.2)
    assert against._line(work, "bgd_i", "search", 15, now[2:], before)["same"] == 0, (
        "another number of changes"
    )
    assert against.cells(line | {"repeats": 5})[:4] == ("mlp reloading", "bgd_i", "search", "5")


def test_a_run_has_a_mean_and_a_middle_row():
    rows = tuple(ROW | {"search_seconds": each, "evaluation_seconds": 1.0} for each in (9.0, 1.0, 2.0))
    run = tree.Measured(wall=20.0, cpu=20.0, peak=2**30, rows=rows)
    assert (run.seconds(["search"]), run.seconds(["search"], middle=True)) == (4.0, 2.0)
    assert run.seconds(["search", "evaluation"]) == 5.0
    (work,) = [work for work in against.WORKS if work.middle]
    line = against._line(work, "ewc", "search", 4, [run], [run])
    assert (line["now"], line["of"]) == (2.0, "search, the middle row")


def test_a_row_is_the_same_run_by_both_trees():
    assert [work.name for work in against.WORKS] + ["start", "profile"] == list(options.ROWS)
    for work in against.WORKS:
        for method in work.methods:
            RunSpec.of(composed_here(work.overrides(method)))


def composed_here(words):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", words)


def test_the_estimate_of_a_plan_is_read_from_what_it_says():
    said = "5 runs: 0 cached, 5 to run\nabout 213 min with 1 jobs, by the times in the records\n"
    assert against._planned_seconds(said) == 213 * 60


def test_lines_of_earlier_looks_stay_in_the_order_of_the_rows():
    def line(name, method, now):
        return {"name": name, "method": method, "of": "search", "now": now}

    kept = [line("search", "bgd_i", 1), line("search", "bgd_c", 2), line("start", "help", 3)]
    found = [line("dense", "l1", 4), line("search", "bgd_i", 5)]
    assert [each["now"] for each in against.merged(kept, found)] == [2, 5, 4, 3]


def test_against_is_made_alone_and_only_where_it_is_asked_for():
    assert not {"against", "commands"} & set(options.parse([]).parts)
    assert options.parse(["--against", "HEAD"]).parts == ("against",)
    assert options.parse(["--against", "HEAD", "--parts", "large"]).parts == ("large",)


def test_a_commit_that_is_not_there_is_said():
    with (
        pytest.raises(ConfigError, match="--against no-such-commit: "),
        checkout.checked_out("no-such-commit"),
    ):
        pass


@pytest.mark.slow
def test_two_trees_run_the_same_rows(tmp_path, monkeypatch):
    """This tree beside itself: the same N0, the same changes."""
    work = against.Work("search", "mlp", "reloading", ("bgd_ii",), (64, 64), 2, (("search", 15),), "smoke")
    monkeypatch.setattr(against, "WORKS", (work,))
    arguments = ["--against", "HEAD", "--rows", "search,start", "--repeats", "1", "--threads", "1"]
    monkeypatch.setattr(against, "STARTS", dict(list(against.STARTS.items())[:1]))
    assert main([*arguments, "--output", str(tmp_path), "--data", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "bench" / "against.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["search", "start"]
    assert (found["rows"][0]["samples"], found["rows"][0]["same"]) == (2, 2)
    assert found["rows"][0]["peak"] > 2**26


def test_a_power_says_how_points_grow():
    points = [{"at": at, "rows": seconds} for at, seconds in ((1, 2.0), (4, 4.0), (8, 8.0), (16, 4.0))]
    assert [line["power"] for line in commands._grown("a run", points, "rows")] == [None, 0.5, 1.0, -1.0]


@pytest.mark.slow
def test_whole_commands_are_measured(tmp_path, monkeypatch, capsys):
    small = {
        "PROFILE": "smoke",
        "PRESET": "idealized_selector_mlp",
        "SETTINGS": ("reloading",),
        "SAMPLES": (1, 2),
    }
    for name, value in small.items():
        monkeypatch.setattr(commands, name, value)
    arguments = ["--parts", "commands", "--repeats", "1", "--threads", "1"]
    assert main([*arguments, "--output", str(tmp_path), "--data", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "bench" / "commands.json").read_text())["rows"]
    at = [(row["of"], row["at"]) for row in rows]
    assert at[:3] == [("samples", 1), ("samples", 2), ("JOBS", 1)]
    assert all(row["wall"] > 0 and row["peak"] > 2**26 for row in rows)
    assert "a run of bgd_ii on the MLP, reloading" in capsys.readouterr().out


MEASURED = {
    "evaluation": {
        "network": "mlp", "images": 64_000, "threads": 2, "full_pass_gflops": 61.4, "full_pass_share_of_peak": 0.25,
        "rows": [
            {"edit": "lin1", "weights": 5, "full": 0.05, "reloading": 0.005, "reloading_ratio": 10.0, "target": 5.0,
             "holds": True, "accumulating_ratio": 8.0, "floor": 0.01},
        ],
    },
    "methods": {
        "network": "mlp", "images": 64_000,
        "rows": [
            {"method": "retrain", "obvious_samples": 0, "patches": 0, "search": 0.002, "full_evaluation": 0.05},
            {"method": "bgd_ii", "obvious_samples": 3, "patches": 3, "obvious_search": 0.5, "search_same_samples": 0.1,
             "search_ratio": 5.0, "full_evaluation": 0.05, "evaluation": 0.005, "evaluation_median_ratio": 11.0,
             "evaluation_total_ratio": 9.0},
        ],
    },
    "growth": {
        "network": "alexnet", "layers": ["lin1"], "exponents": {"images": {"full": 1.0, "lin1": 0.5}},
        "axes": {"images": [{"at": 1000, "full": 0.1, "lin1": 0.01}, {"at": 16_000, "full": 1.6, "lin1": 0.04}]},
    },
    "small": {
        "network": "mlp",
        "methods": {"bgd_ii": {"one_by_one": 2e-3, "at_once": 4e-4, "one_a_call": 5e-4, "different": 0,
                               "gradient": 1e-4, "weights": 5e-5, "guard": 0.0, "search": 2e-4, "rest": 5e-5}},
    },
    "descents": {
        "network": "alexnet",
        "methods": {"ewc": {"plain_seconds": 0.6, "seconds": 0.2, "ratio": 3.0, "steps": 5, "networks_a_step": 11.42,
                            "same": 2, "samples": 3}},
    },
    "commands": {
        "rows": [{"what": "a run", "of": "JOBS", "at": 2, "wall": 10.0, "cpu": 19.0, "peak": 2**30, "power": -0.95}],
    },
    "large": {
        "network": "vit_b_16", "forward_seconds": 0.5, "search_passes": 8.0, "search_passes_before": 20.0,
        "memory": 2.4, "memory_before": 5.0, "memory_of_a_gradient": 1.5,
    },
    "against": {
        "against": "782a196",
        "rows": [{"network": "mlp", "setting": "reloading", "name": "search", "method": "bgd_i", "of": "search",
                  "samples": 2, "images": 64_000, "before": 2.0, "now": 0.2, "ratio": 10.0, "target": 15.0,
                  "repeats": 1, "holds": False, "wall_ratio": 10.0, "cpu_ratio": 10.0, "peak": 2**30,
                  "peak_before": 2**30, "same": 2}],
    },
}  # fmt: skip


def test_a_large_network_is_compared_in_its_own_passes():
    searches = [{"seconds": each, "candidates": 7, "parameters": 2} for each in (0.3, 0.5, 0.9)]
    here = {"network": "net", "parameters_bytes": 100, "forward_seconds": 0.1, "beyond_bytes": 250}
    here["searches"] = searches
    there = here | {"beyond_bytes": 500, "searches": [each | {"seconds": 2.0} for each in searches]}
    found = large._compared(here, there, here | {"beyond_bytes": 120})
    assert found["search_passes"] == pytest.approx(5)
    assert found["search_passes_before"] == pytest.approx(20)
    assert (found["memory"], found["memory_before"], found["memory_of_a_gradient"]) == (2.5, 5.0, 1.2)
    assert found["same_corrections"] is True


@pytest.mark.slow
def test_a_large_network_is_measured_in_a_process_of_its_own():
    found = large._run(large.ROOT, "squeezenet1_1", 2)
    assert found["forward_seconds"] > 0
    assert len(found["searches"]) == 2
    assert found["beyond_bytes"] > found["parameters_bytes"]


DRAWS = {"network": "draws", "parameters": 86_000_000, "seconds": 0.2, "obvious_seconds": 7.0}


def test_the_document_is_made_from_what_was_measured(tmp_path):
    for part, network in MEASURED.items():
        networks = [network, DRAWS] if part == "large" else [network]
        content = network if part in ("against", "commands") else {"networks": networks}
        (tmp_path / f"{part}.json").write_text(json.dumps(content))
    places = "".join(f"<!-- bench:{part} -->stale<!-- /bench:{part} -->\n" for part in report.PARTS)
    once = report.update(f"before\n{places}after\n", tmp_path)
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert "stale" not in once
    for line in (
        "| mlp | lin1 | 5 | ",
        "| mlp reloading | bgd_i | search | 1 | 2 | 64,000 | 2 | 0.2 | 10.0x | 15.0x | **no** | 10.0x |",
        "| vit_b_16 | 500 | 8.0 | 20.0 | 2.4 | 5.0 | 1.5 |",
        "20 draws from 86,000,000 parameters: 0.20 s",
        "| mlp | bgd_ii | 0.5 | 0.1 | ",
        "| alexnet | edit of lin1 | images | 1,000 | 16,000 | 10.0 | 40.0 | ^0.50 |",
        "| mlp | bgd_ii | 2 | 0.4 | 5.00x | 0.5 | 0 | 0.1 | 0.05 | 0 | 0.2 | 0.05 |",
        "| alexnet | ewc | 600 | 200 | 3.00x | 5 | 11.4 | 2 of 3 |",
        "| a run | JOBS=2 |  | 10 | 19 | 1.00 | ^-0.95 |",
    ):
        assert line in once
    assert report.update(once, tmp_path) == once


def test_the_document_has_a_place_for_each_part():
    document = report.DOCUMENT.read_text()
    assert re.findall(r"<!-- bench:(\w+) -->", document) == re.findall(r"<!-- /bench:(\w+) -->", document)
    assert sorted(re.findall(r"<!-- bench:(\w+) -->", document)) == sorted(report.PARTS)


def test_the_parts_of_a_search_are_within_it():
    subject = subjects.tiny_subject("mlp", 64, 8, 2**30)
    row = small._measured(subject, small.METHODS["bgd_c"])
    assert all(row[part] > 0 for part in small.PARTS)
    assert row["rest"] >= 0, "one clock, and no part within another"
    assert row["different"] == 0


def test_a_document_without_a_place_is_refused(tmp_path):
    for part in report.PARTS:
        (tmp_path / f"{part}.json").write_text("{}")
    with pytest.raises(KeyError, match="bench:against"):
        report.update("nothing", tmp_path)
