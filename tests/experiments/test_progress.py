"""What `make reproduce` says at its end."""

from dataclasses import replace

from records_factory import run

from experiments.jobs import progress


def test_where_the_time_went_names_the_longest_kinds(monkeypatch):
    def header(method, seconds):
        one = run(method=method).header
        return replace(one, summary={"seconds": seconds})

    monkeypatch.setattr(progress, "SHOWN", 2)
    headers = [header("bgd_ii", 3.0), header("retrain", 50.0), header("retrain", 30.0), header("top_k", 17.0)]
    lines = progress.Stopwatch().text(headers).splitlines()
    assert lines[0].startswith("took 0 s, ")
    assert [line.split()[-4:] for line in lines[1:]] == [
        ["retrain", "80.0", "s", "80%"],
        ["top_k", "17.0", "s", "17%"],
        ["kinds", "3.0", "s", "3%"],
    ]


def test_a_time_without_runs_is_a_line():
    assert len(progress.Stopwatch().text([]).splitlines()) == 1
