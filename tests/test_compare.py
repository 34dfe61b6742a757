"""Two sets of records side by side."""

from dataclasses import replace

from records_factory import figures, row, run

from scripts import compare


def found(old, new):
    (only,) = compare.compare([old], [new]).values()
    return only


def test_the_same_records_differ_in_nothing():
    one = run((row(0), row(1)))
    assert found(one, one).cells() == ["1", "2", "0", "2", "0.0e+00", "0"]


def test_what_differs_is_counted_and_measured():
    old = run((row(0), row(1), row(2)))
    other = figures(train_loss=0.25 * (1 + 1e-6), test_accuracy=0.7)
    new = run(
        (
            row(0, figures=other),
            row(1, sample_loss_after=0.4),
            row(2, altered=3, figures=figures(test_loss=9.0)),
        )
    )
    assert found(old, new).cells() == ["1", "3", "1", "1", "1.0e-06", "1"], "row 2 is another change"


def test_a_longer_run_of_a_newer_version_is_compared_in_what_both_have():
    old, new = run((row(0),)), run((row(0), row(1)))
    spec = {**new.header.spec, "versions": {"method": 9}}
    assert found(old, replace(new, header=replace(new.header, spec=spec))).cells()[:2] == ["1", "1"]


def test_another_network_is_not_compared():
    one = run((row(0),))
    base = {**one.header.base, "sha256": "another"}
    assert not compare.compare([one], [replace(one, header=replace(one.header, base=base))])


def test_a_folder_without_records_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["compare", str(tmp_path), str(tmp_path)])
    assert compare.main() == 2
    assert "no records there" in capsys.readouterr().err
