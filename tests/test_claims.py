"""Lock files that name who holds them, with a heartbeat."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from records_factory import row, run

from experiments.records import claims
from experiments.records.claims import HOST, LOST, Claim, claim_in, claimed
from experiments.records.files import BusyError
from experiments.records.store import Store

HOLD = """
import sys, time
from pathlib import Path
from experiments.records.claims import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "run.lock"


def of_another_machine(path, age):
    """A lock file as a process of another machine leaves it, on a disk that does not pass locks on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": 0.0}))
    os.utime(path, (time.time() - age,) * 2)


def test_a_claim_names_this_process_and_goes_with_the_block(path):
    before = time.time()
    with claimed(path):
        found = claim_in(path)
        assert (found.host, found.pid) == (HOST, os.getpid())
        assert before <= found.since <= time.time()
        assert found.alive
        with pytest.raises(BusyError), claimed(path):
            pass
        assert claim_in(path) == found, "who was refused left it as it is"
    assert claim_in(path) is None
    assert not path.exists()


def test_a_heart_beats(path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.01)
    with claimed(path):
        os.utime(path, (0, 0))
        end = time.monotonic() + 30
        while not claim_in(path).beat and time.monotonic() < end:
            time.sleep(0.01)
        assert time.time() - claim_in(path).beat < LOST


def test_a_killed_process_leaves_a_claim_that_is_dead_and_can_be_taken(path):
    held = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert held.stdout.readline() == "held\n"
        assert claim_in(path).pid == held.pid
        assert claim_in(path).alive
        with pytest.raises(BusyError), claimed(path):
            pass
    finally:
        held.send_signal(signal.SIGKILL)
    end = time.monotonic() + 30
    while claim_in(path).alive and time.monotonic() < end:  # before its parent, this process, asks about it
        time.sleep(0.01)
    assert sys.platform != "linux" or not claim_in(path).alive
    held.communicate()
    assert claim_in(path).pid == held.pid
    assert not claim_in(path).alive
    with claimed(path):
        assert claim_in(path).pid == os.getpid()


def test_a_heartbeat_of_another_machine_counts_where_its_lock_does_not(path):
    of_another_machine(path, age=1)
    stamp = path.stat().st_mtime_ns
    assert claim_in(path).alive
    with pytest.raises(BusyError, match="held by process 1 of elsewhere"), claimed(path):
        pass
    assert path.stat().st_mtime_ns == stamp, "asking is no heartbeat"
    of_another_machine(path, age=LOST + 1)
    assert not claim_in(path).alive
    with claimed(path):
        assert claim_in(path).host == HOST


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host": "a"}', b"\xff"])
def test_a_file_that_names_nobody_is_no_claim(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    assert claim_in(path) is None
    with claimed(path):
        assert claim_in(path).alive


def test_a_store_knows_who_is_at_a_run_and_at_its_parts(tmp_path):
    store, header = Store(tmp_path), run((row(0), row(1))).header
    assert store.claims(header.run_id) == {}
    parts = store.parts(header.run_id)
    with parts.writing(replace(header, run_id="1-of-2", samples=1)) as writer:
        assert store.claims(header.run_id)["1-of-2"].pid == os.getpid()
        writer.append(row(0))
        assert store.done_rows(header.run_id) == 1
        with pytest.raises(BusyError):
            store.discard(header.run_id)
        with store.writing(header):
            assert sorted(store.claims(header.run_id)) == ["", "1-of-2"]
    assert store.claims(header.run_id) == {}
    assert store.faults() == []
    store.discard(header.run_id)
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_somebody_elses_is_alive(monkeypatch):
    def refused(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert Claim(HOST, 1, 0.0, time.time()).alive
    assert not Claim(HOST, 1, 0.0, time.time() - LOST).alive
