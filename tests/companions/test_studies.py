"""Studies as data: what they name is there, what is done is not done again, every part of the configuration builds."""

import json
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from typing import get_type_hints

import pytest
import torch
import yaml
from small import ROOT, XOR

from bgd.errors import ConfigError
from experiments.companions import __main__ as door
from experiments.companions.compose import FOLDER, composed as composed_as, composing, content_of, training_of
from experiments.companions.measures import MEASURES, measured
from experiments.companions.plan import Lane, Settings, file_of, work_of
from experiments.companions.study import Scale, Study, study_names, study_of
from experiments.companions.train import train
from experiments.companions.training import Training
from experiments.companions.work import row_of, work
from experiments.config.build import convert
from experiments.records.companions import (
    CompanionJob,
    CompanionRow,
    line_of,
    read_rows,
    study_file,
    write_rows,
)
from experiments.records.files import BusyError
from experiments.records.schema import RecordError
from experiments.report.companions.evidence import printed
from experiments.report.companions.gradient import REFERENCES
from experiments.report.companions.rules import RULES, SETS

HINTS = get_type_hints(Training)
NOT_PARTS = ("study", "rates", "regime", "rule")
OPTIONS = sorted(path for path in FOLDER.glob("*/*.yaml") if path.parent.name not in NOT_PARTS)


@pytest.fixture(scope="module")
def composed():
    with composing():
        yield


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_choice_of_a_group_builds(path):
    content = yaml.safe_load(path.read_text())
    group = path.parent.name
    built = convert(content, HINTS[group], group)
    assert built is not None
    named = content if group != "penalty" else content[path.stem]
    assert named["_target_"].startswith("experiments.companions.")


def test_a_training_of_many_parts(composed):
    training = training_of(
        content_of(
            [
                *(
                    "model=lenet5",
                    "model.dropout=0.5",
                    "penalty=[spectreg,l2]",
                    "penalty.spectreg.weight=0.5",
                ),
                *("rates=tanh_mnist", "regime=large", "rule=l2_stopped_selective", "schedule=drops"),
                *("optimizer.rate=${rates.rate}", "constraint=maxnorm", "noise=weights"),
            ]
        )
    )
    assert training.penalty["spectreg"].weight == 0.5
    update = training.update
    assert (update.rate, update.since, update.omega) == (0.001, 0.7, 0.001)
    assert update.before * update.rate == pytest.approx(1e-5), "L2's rate before tau"
    assert training.optimizer.rate == 0.001


@pytest.mark.parametrize("more", [[], ["stretch=6.67"], ["stretch=20.0", "decay_stretch=586.0"]])
def test_before_tau_stopped_selective_decays_as_l2(composed, more):
    l2, rule = (
        training_of(content_of(["rates=tanh_mnist", "regime=large", f"rule={name}", *more]))
        for name in ("l2_stopped", "l2_stopped_selective")
    )
    assert rule.taken * rule.update.before == pytest.approx(l2.taken)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["penalty=[spectreg]", "penalty.spectreg.weigth=1"], r"weigth: .*did you mean 'weight'"),
        (["model=lenet6"], "model='lenet6': did you mean 'lenet5'"),
        (["penalty=[l2,spectrge]"], "penalty='spectrge': did you mean 'spectreg'"),
        (["evalute=3"], "evalute: .*did you mean 'evaluate'"),
        (["rule=l2"], "rates: a rule or a regime needs them; valid: relu_cifar"),
        (["evaluate=0"], "evaluate=0: must be at least 1"),
        (["stop.count=0"], r"stop\.count=0: must be at least 1"),
        (["batch_size"], "batch_size: cannot be read, write key=value"),
        (["loss.smoothing=much"], r"training\.loss\.smoothing='much': must be a number"),
        (["optimizer.kind=Adan"], "did you mean 'Adam'"),
        (["stop=early", "stop.share=2.0"], r"stop\.share=2\.0"),
    ],
)
def test_what_is_none_is_said(composed, overrides, said):
    with pytest.raises(ConfigError, match=said):
        training_of(content_of(overrides))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["stduies=[c2]"], "stduies: .*did you mean 'studies'"),
        (["studies=[]"], r"studies=\[\]: name some; valid: c2"),
        (["jobs=-1"], "jobs=-1: must be at least 1"),
        (["profile=documnet"], "did you mean 'document'"),
    ],
)
def test_settings_that_are_none(composed, overrides, said):
    with pytest.raises(ConfigError, match=said):
        Settings.of(composed_as("config", overrides))


def test_words_that_are_none(composed, capsys):
    with pytest.raises(ConfigError, match="'trian': did you mean 'train'"):
        door.command(["trian"])
    assert door.command(["--help"]) == 0
    assert "plan=true" in capsys.readouterr().out


@pytest.fixture
def one_arm(monkeypatch):
    """Each study has a single arm."""
    monkeypatch.setattr("experiments.companions.study.Study.each_arm", lambda *_: iter([("arm", ())]))


def test_a_study_is_done_once_and_the_profile_document_lies_aside(composed, tmp_path, one_arm):
    asked = Settings.of(composed_as("config", ["studies=[toy,c2,toy]", f"output_dir={tmp_path}"]))
    assert asked.studies == ("toy", "c2")
    printed_ones = replace(asked, profile="document")
    assert printed_ones.output not in (asked.output, replace(asked, scale="smoke").output)
    same, other = ({lane.job.id for lane in work_of(each, "toy").lanes} for each in (asked, printed_ones))
    assert same == other, "a study without profiles is not done again"
    same, other = ({lane.job.id for lane in work_of(each, "c2").lanes} for each in (asked, printed_ones))
    assert not same & other


def test_every_study_is_read_and_has_each_scale():
    for name in study_names():
        study = study_of(name)
        assert set(study.scales) == {"smoke", "laptop", "document"}, name
        assert list(study.each_arm(study.scale("document"))), name
        assert list(study.each_arm(study.scale("laptop"))), name
        assert set(study.measures) <= set(MEASURES)


def test_studies_that_are_none():
    with pytest.raises(ConfigError, match="studies='c3': did you mean"):
        study_of("c3")
    with pytest.raises(ConfigError, match="scale='laptob': did you mean 'laptop'"):
        study_of("c2").scale("laptob")
    with pytest.raises(ConfigError, match="either these or axes"):
        Study("words", {})
    with pytest.raises(ConfigError, match="measures='eigenvalue': did you mean 'eigenvalues'"):
        Study("words", {"smoke": Scale(1, 1)}, arms={"a": ()}, measures={"eigenvalue": 1})


@pytest.mark.parametrize("study", [*REFERENCES, *SETS])
def test_every_printed_cell_has_an_arm(study):
    arms = {name for name, _ in study_of(study).each_arm(study_of(study).scale("document"))}
    if study in REFERENCES:
        cells = {cell["arm"] for cell in printed(study)}
    else:
        cells = {cell["arm"] for cell in printed("rules") if cell["study"] == study}
        assert arms == {f"{act}/{rule}" for act in ("tanh", "relu") for rule in RULES}
    assert cells <= arms


def settings(tmp_path, *studies, **values):
    return Settings(studies, "smoke", "author", 1, False, False, "data", str(tmp_path), **values)


def test_what_is_done_is_not_done_again(tmp_path, composed, monkeypatch):
    monkeypatch.setattr(
        "experiments.companions.study.Study.each_arm", lambda *_: iter([("zeros", ("init=zeros",))])
    )
    asked = settings(tmp_path, "starts")
    plan = work_of(asked, "starts")
    assert [lane.job.seed for lane in plan.lanes] == [0, 1]
    (bank,) = plan.banks()
    monkeypatch.setattr("experiments.companions.work.train", lambda trainings, root: train(trainings, ROOT))
    monkeypatch.setattr("experiments.companions.plan.TINY", ROOT)
    assert work(asked, bank) > 0
    again = work_of(asked, "starts")
    assert not again.banks()
    assert again.minutes_left == 0
    (row,) = read_rows(file_of(asked, again.lanes[0].job))
    assert row.curves["step"][-1] == row.value("steps") == 5
    assert work_of(replace(asked, rerun=True), "starts").todo


def test_the_command(tmp_path, composed, monkeypatch, capsys):
    """Plan, work, records, tables: on one arm of a small study, in this process."""
    monkeypatch.setattr("experiments.companions.study.Study.each_arm", lambda *_: iter([("squares", ())]))
    monkeypatch.setattr("experiments.companions.plan.TINY", ROOT)
    monkeypatch.setattr(door, "composing", nullcontext)
    monkeypatch.setattr(door, "Companions", lambda records: type("Part", (), {"files": lambda *_: {}})())

    class Here:
        def submit(self, function, *arguments):
            future = Future()
            future.set_result(function(*arguments))
            return future

    monkeypatch.setattr(door, "pool", lambda _: nullcontext(Here()))
    asked = ["studies=[toy]", "scale=smoke", f"output_dir={tmp_path}"]
    assert door.command([*asked, "plan=true"]) == 0
    assert "2 trainings,    2 to do" in capsys.readouterr().out
    assert not (tmp_path / "smoke").exists()
    assert door.command(asked) == 0
    assert "min left" in capsys.readouterr().out
    rows = read_rows(study_file(tmp_path / "smoke" / "reference" / "companions", "toy"))
    assert [row.job.arm for row in rows] == ["squares"] * 2


def test_a_second_command_at_once_and_a_folder_that_cannot_be_written(tmp_path):
    asked = settings(tmp_path, "toy")
    with door.held(asked):
        with pytest.raises(BusyError, match="studies='toy': another command is at it"), door.held(asked):
            pass
        with door.held(settings(tmp_path, "xor")):
            pass
    with door.held(asked):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="cannot be written"), door.held(settings(tmp_path / "file", "toy")):
        pass


def test_a_bank_that_failed_is_said_and_one_that_cannot_be_written_ends_it():
    bank = [Lane(CompanionJob("toy", "l2", "smoke", "author", "0", 0), XOR, {})]
    for error in (None, ValueError("words")):
        future = Future()
        future.set_result(0.0) if error is None else future.set_exception(error)
        assert door._failure(future, bank) == ([] if error is None else ["toy l2 failed: ValueError: words"])
    full = Future()
    full.set_exception(RecordError("no room"))
    with pytest.raises(RecordError, match="no room"):
        door._failure(full, bank)


def test_a_damaged_row_is_named_and_part_of_a_study_does_not_replace_its_records(
    tmp_path, composed, capsys, one_arm
):
    asked = settings(tmp_path, "toy")
    plan = work_of(asked, "toy")
    rows = [CompanionRow(lane.job, {"steps": 5.0}) for lane in plan.lanes]
    records = study_file(tmp_path, "toy")
    for row in rows:
        write_rows(file_of(asked, row.job), [row])
    door.keep(asked, plan, records)
    damaged = file_of(asked, rows[0].job)
    damaged.unlink()
    door.keep(asked, plan, records)
    assert "stays as it is: 1 of 2 trainings of toy are done" in capsys.readouterr().out
    assert read_rows(records) == rows
    damaged.write_text("{")
    with pytest.raises(RecordError, match=f"{damaged.name}, line 1.*delete the file"):
        work_of(asked, "toy")


def test_one_training(composed, monkeypatch, capsys):
    monkeypatch.setattr(door, "composing", nullcontext)
    overrides = [
        "model.sizes=[2,3,1]",
        "data=xor",
        "loss=squares",
        "init=gaussian",
        "stop.count=2",
        "evaluate=1",
    ]
    assert door.command(["train", *overrides]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["step"] for line in lines] == [0, 2]
    assert set(lines[0]) == {"step", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "norm"}


def test_measures_of_a_small_network():
    (trained,) = train([XOR], ROOT)
    found = measured(trained, ROOT, {"eigenvalues": 2, "first_weights": 1})
    assert len(found.vectors["eigenvalues_end"]) == 2
    assert found.values["eigenvalue"] == found.vectors["eigenvalues_end"][0]
    assert len(found.vectors["weights_0"]) == 10
    spectrum = measured(trained, ROOT, {"spectrum": 3}).values
    assert spectrum["lanczos_distance"] < 1e-4
    assert spectrum["power_distance"] < 1e-4
    assert spectrum["parameters"] == 21
    diverged = replace(
        trained, parameters={name: value * float("inf") for name, value in trained.parameters.items()}
    )
    assert not measured(diverged, ROOT, {"eigenvalues": 2}).vectors


@pytest.mark.slow
def test_figure_5_2(composed):
    """Fifteen eigenvalues of a network of 1,065 parameters, without the matrix, within 1e-4 of the dense ones."""
    study = study_of("eigenvalues")
    overrides = [*study.common, *study.arms["tanh"], "data.dataset=tiny", "data.train=300", "stop.count=100"]
    (trained,) = train([training_of(content_of(overrides))], ROOT)
    values = measured(trained, ROOT, study.measures).values
    assert values["parameters"] == 1065
    assert values["lanczos_distance"] < 1e-4
    assert values["power_distance"] < 1e-4


def test_a_run_that_diverged_is_a_row():
    (trained,) = train([XOR], ROOT)
    trained.history["train_loss"][-1] = float("nan")
    row = row_of(Lane(CompanionJob("xor", "a", "smoke", "author", "0", 0), XOR, {}), trained, ROOT)
    assert row.values["train_loss"] is None
    assert json.loads(line_of(row))["curves"]["train_loss"][-1] is None
    assert torch.tensor(row.value("norm")) > 0
