"""`make status`: what is done, who is at what, what failed and what is left."""

import json
import os
import re
import time
from dataclasses import replace

import pytest
from records_factory import consistent_run

from experiments import reproduce
from experiments.jobs.known import Known
from experiments.jobs.status import Status
from experiments.records.claims import HOST
from experiments.records.store import Store

SECONDS = 90.0


def planned(name, samples=4):
    """A run as a plan knows it, and its records."""
    run = consistent_run(samples, method=name)
    identity = {
        **run.header.spec,
        "scale": {
            "samples": samples,
            "train_images": 54_000,
            "test_images": 10_000,
            "recipe": {"epochs": 1},
        },
    }
    header = replace(run.header, run_id=name, spec=identity, summary={})
    return Known(f"title of {name}", name, "base", "bench", None, identity, {}), header, run.rows


def write(store, header, rows):
    with store.writing(header) as writer:
        for row in rows:
            writer.append(row)
        if len(rows) == header.samples:
            writer.complete({"retained": 0.5, "seconds": SECONDS})


@pytest.fixture
def plan(tmp_path):
    """One done, one half made by a process that is gone, one failed, one that nobody has begun, and two at work."""
    store, known = Store(tmp_path / "runs"), []
    for name in ("done", "gone", "failed", "untouched", "whole", "parts"):
        one, header, rows = planned(name)
        known.append(one)
        if name == "done":
            write(store, header, rows)
        elif name in ("gone", "whole"):
            write(store, header, rows[:2])
        elif name == "failed":
            store.fail(name, {}, ZeroDivisionError("in the method"))
        elif name == "parts":
            write(store.parts(name), replace(header, run_id="1-of-2", samples=2), rows[:2])
            write(store.parts(name), replace(header, run_id="2-of-2", samples=2), rows[:1])
    for path, host in (("whole.lock", HOST), ("parts.shards/2-of-2.lock", "elsewhere"), ("gone.lock", "far")):
        now = time.time()
        claim = {"host": host, "pid": os.getpid(), "since": now - 300}
        (store.root / path).write_text(json.dumps(claim))
    os.utime(store.root / "gone.lock", (0, 0))
    return known


def test_a_status_is_what_is_on_the_disk(plan, tmp_path):
    costs = {("mlp", "reloading", "whole", 64_000): 30.0}
    status = Status.of(plan, tmp_path, costs)
    assert (status.done, status.done_minutes) == (1, 1.5)
    assert [(each.run_id, each.part, each.host, each.rows, each.samples) for each in status.running] == [
        ("whole", "", HOST, 2, 4),
        ("parts", "2-of-2", "elsewhere", 1, 2),
    ], "the earliest first"
    assert (status.running_runs, status.running_minutes) == (2, 1.5), (
        "two samples, and one of the four in parts"
    )
    assert [(failure.run_id, failure.why) for failure in status.failed] == [
        ("failed", "ZeroDivisionError: in the method")
    ]
    assert (status.left, status.begun, status.left_minutes) == (2, 1, 3.0)


def test_a_status_in_words_has_a_line_for_each_process_and_failure(plan, tmp_path):
    lines = Status.of(plan, tmp_path, {}).text().splitlines()
    assert lines[0] == "done     1 run, 2 min of one core"
    assert any(
        line.startswith("  title of parts, shard 2-of-2: 1 of 2 samples, elsewhere process ")
        for line in lines
    )
    (own,) = (line for line in lines if line.startswith("  title of whole: 2 of 4 samples"))
    assert f"{HOST} process {os.getpid()}, since " in own
    assert "(5 min), heartbeat 0 s ago" in own
    assert any(line.startswith("  title of failed: ZeroDivisionError: in the method (") for line in lines)
    assert "left     2 runs, 0 min of one core, 1 of them begun by a process that is gone" in lines
    assert lines[-1] == "about 0 min with the 2 processes that are at it"


@pytest.mark.slow
def test_the_command_says_it_as_json_and_writes_nothing_that_others_read(
    spec_of, monkeypatch, capsys, tmp_path
):
    specs = [spec_of("method=bgd_c"), spec_of("method=bgd_c", "seed=1")]
    monkeypatch.setattr(reproduce, "specs_of_presets", lambda profile: {"preset": specs})
    words = ("status", "--profile", "smoke", "--device", "cpu", "--output", str(tmp_path))
    assert reproduce.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["done"], found["left"], found["running"], found["failed"]) == (0, 2, [], [])
    with Store(tmp_path / "runs")._held(specs[1].run_id):
        assert reproduce.main([*words]) == 0
    said = capsys.readouterr().out
    assert "left     1 run, " in said
    assert re.search(r"^about \d+ min with the process that is at it$", said, re.M)
    assert f"  {specs[1].title}: 0 of 6 samples, {HOST} process {os.getpid()}, since " in said
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"plan.smoke.json"}


def test_a_launcher_and_its_shards_are_options_of_the_command(monkeypatch, capsys, tmp_path):
    words = ("run", "--profile", "smoke", "--output", str(tmp_path))
    assert reproduce.main([*words, "--shards", "2"]) == 2
    assert "shards=2: workers of a launcher make them; add --launcher" in capsys.readouterr().err
    assert reproduce.main([*words, "--launcher", "jobib"]) == 2
    assert (
        "hydra/launcher='jobib': there is no such launcher; did you mean 'joblib'?" in capsys.readouterr().err
    )
    with pytest.raises(SystemExit):
        reproduce.main([*words, "--shards", "0"])
    assert "--shards 0: must be at least 1" in capsys.readouterr().err
