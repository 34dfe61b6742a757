"""The command: what its configuration asks for, what is done is not done again, what fails is said."""

from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir
from stand_in import Package

from bgd.errors import ConfigError
from experiments.config.groups import CONF, files_of
from experiments.config.overrides import jobs_of
from experiments.config.presets import presets
from experiments.public_bugs import __main__ as door, work
from experiments.public_bugs.fetch import FetchError
from experiments.public_bugs.subjects import SUBJECTS
from experiments.records.public_bugs import read_rows
from experiments.report.public_bugs import AIMS, PublicBugs, title

SMALL = [
    *(f"~reports.{name}" for name in SUBJECTS if name != "rapidocr-onnxruntime"),
    "reports.rapidocr-onnxruntime.lines={mistakes: 5, keep: 30, inputs: 20}",
    "methods=[{method: output_bias}, {method: least_harm, options: {budget: 3}}, {method: bgd_ii, packages: [magika]}]",
]


def test_the_configuration_names_every_package_and_what_the_aims_are_for():
    settings = door.settings_of([])
    assert set(settings.reports) == set(SUBJECTS)
    jobs = list(settings.jobs())
    assert len({job.id for job in jobs}) == len(jobs)
    assert {(aim.package, aim.report) for aim in AIMS} <= {(job.package, job.report) for job in jobs}
    for job in jobs:
        assert title(job.report) != job.report, "it has words"
    names = {
        f"{name}.{kind}" for name in files_of("public_bugs") for kind in ("md", "csv", "tex", "png", "svg")
    }
    assert set(PublicBugs().names) <= names


def test_it_is_no_preset_of_runs():
    assert "public_bugs" not in presets()
    with (
        initialize_config_dir(str(CONF), version_base="1.3"),
        pytest.raises(ConfigError, match=r"experiment=public_bugs: .*make public-bugs"),
    ):
        jobs_of(["-m", "experiment=public_bugs"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("split=heldout", "split='heldout': did you mean 'held_out'"),
        ("methods=[{method: least_squares}]", "method='least_squares': no such method; did you mean"),
        (
            "methods=[{method: output_bias, packages: [magica]}]",
            "package='magica': not pinned; did you mean 'magika'",
        ),
        ("reports.magika.mash_1249.mistakes=many", r"mistakes='many': must be an integer"),
        ("sead=1", "sead"),
    ],
)
def test_what_is_no_configuration_is_named(override, said):
    with pytest.raises(ConfigError, match=said):
        door.settings_of([override])


def here(function, *arguments):
    """`apart`, in this process."""
    try:
        function(*arguments)
    except SystemExit as error:
        print(error)
        return 1
    return 0


@pytest.fixture
def command(monkeypatch, tmp_path):
    """The command with a stand-in for the package, in this process."""
    monkeypatch.setattr(door, "apart", here)
    monkeypatch.setattr(work, "subject_of", lambda *_: Package())
    monkeypatch.setattr("experiments.report.public_bugs.draw_bugs", lambda *_: ["drawn in another test"])
    monkeypatch.setattr(work, "revision", lambda: {"revision": "a test"})
    output = [f"output_dir={tmp_path}", f"data_dir={tmp_path / 'data'}"]
    return SimpleNamespace(run=lambda *more: door.command([*SMALL, *output, *more]), folder=tmp_path)


def test_what_is_done_is_not_done_again(command, capsys):
    assert command.run() == 0
    assert "3 jobs, 0 of them done" in capsys.readouterr().out
    records = command.folder / "reference" / "public_bugs.jsonl"
    first = records.read_bytes()
    assert [row.job.method for row in read_rows(records)] == ["", "output_bias", "least_harm"]
    assert (
        "| lines taken for upside down, or not | Least harm (budget 3) |"
        in (command.folder / "tables" / "public_bugs.md").read_text()
    )
    assert command.run() == 0
    assert "3 jobs, 3 of them done" in capsys.readouterr().out
    assert records.read_bytes() == first
    assert command.run("rerun=true") == 0
    assert "3 jobs, 0 of them done" in capsys.readouterr().out


def test_a_package_that_cannot_be_had_is_left_out_and_said(command, monkeypatch, capsys):
    def none(*_):
        raise FetchError("rapidocr: pip cannot fetch it")

    monkeypatch.setattr(work, "subject_of", none)
    assert command.run() == 1
    said = capsys.readouterr()
    assert "rapidocr-onnxruntime is left out: rapidocr: pip cannot fetch it" in said.out
    assert "rapidocr-onnxruntime is not complete" in said.err
    assert "There are no records" in (command.folder / "tables" / "public_bugs.md").read_text()


def fails(status):
    raise SystemExit(status)


@pytest.mark.slow
def test_a_process_of_its_own_says_how_it_ended():
    assert [door.apart(fails, status) for status in (0, 3)] == [0, 3]
