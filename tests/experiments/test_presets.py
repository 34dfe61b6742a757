"""Presets and groups of methods: who runs what, for which files, and that nothing is left out unsaid."""

import runpy
import shutil
import sys
from collections import Counter
from fnmatch import fnmatch
from functools import partial
from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest
import records_factory as make
from hydra import initialize_config_dir

from bgd.errors import ConfigError
from experiments import command
from experiments.config import groups, overrides, presets as plan, titles
from experiments.config.groups import CONF, GROUPS, files_of, groups_run, methods_in
from experiments.config.overrides import jobs_of
from experiments.config.presets import presets, specs
from experiments.config.spec import RunSpec
from experiments.from_records import PROFILES
from experiments.jobs.plan import Plan
from experiments.records.schema import PROBE
from experiments.report.claims.part import Claims
from experiments.report.comparison import Comparison
from experiments.report.figures import FigureSpec
from experiments.report.frames import identity_of, recipe_of
from experiments.report.frontier import Aims
from experiments.report.overview import Headline, Overview
from experiments.report.variation import BaseNetworks
from experiments.thesis import levels
from experiments.thesis.report import REPORT
from experiments.thesis.tables import PAPER

MINE = "least_squares"  # a name that an old list of exceptions, least_*, would have swallowed
IN_GROUPS = ("tables", "frontier", "every_error", "in_a_row", "rounding")
RUNS_GROUP = {
    "every_method": "tables",
    "base_networks": "tables",
    "rounding": "tables",
    "frontier_points": "frontier",
    "every_error_mlp": "every_error",
    "every_error_alexnet": "every_error_alexnet",
    "in_a_row": "in_a_row",
    "rounding_beyond": "rounding",
    "fair_smallest": "smallest",
}


def composing():
    return initialize_config_dir(str(overrides.CONF), version_base="1.3")


def methods_of(preset):
    """The methods of a preset's runs, without composing any."""
    with composing():
        return {dict(choice).get("method") for choice in plan._choices(preset)}


def readers():
    """The presets whose runs each file is made from, by its name without suffix."""
    without = {}
    for part in (*PAPER, *REPORT.parts):
        for name in part.names:
            without.setdefault(str(PurePosixPath(name).with_suffix("")), set()).update(part.presets)
    return without


def test_a_group_is_run_whole_by_its_presets_and_every_method_is_in_one_or_says_why_not():
    assert set(groups_run(CONF)) == set(RUNS_GROUP.values())
    for preset, group in RUNS_GROUP.items():
        assert methods_of(preset) == set(methods_in(group)), preset
    every = {path.stem: path.read_text() for path in (CONF / "method").glob("*.yaml")}
    grouped = {name for group in groups_run(CONF) for name in methods_in(group)}
    for name in set(every) - grouped:
        assert f"\n{GROUPS}: [] # " in every[name], name


def test_no_preset_lists_what_it_leaves_out():
    for preset in presets():
        params = overrides.preset_params(preset)
        assert not [value for value in params.values() if "glob(" in str(value)], preset


def test_a_preset_names_the_files_that_are_made_from_its_runs_and_every_preset_has_some():
    made = readers()
    assert set().union(*made.values()) == set(presets())
    for preset in presets():
        own = {name for name, of in made.items() if preset in of}
        patterns = files_of(preset)
        missing = {name for name in own if not any(fnmatch(name, pattern) for pattern in patterns)}
        spare = {pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in own)}
        assert missing | spare == set(), f"{preset}.yaml, files: without {missing}, with {spare}"


@pytest.mark.parametrize("preset", ["table_4_8", "figure_4_3", *RUNS_GROUP])
def test_the_command_line_and_the_plan_expand_a_preset_alike(preset):
    with composing():
        jobs = [set(job) - {f"experiment={preset}"} for job in jobs_of(["-m", f"experiment={preset}"])]
        choices = [
            {f"{key}={value}" for key, value in choice if key != "experiment"}
            for choice in plan._choices(preset)
        ]
    assert jobs == choices


@pytest.mark.parametrize(
    ("preset", "method", "axis"),
    [("table_4_12", "bgd_norm", "seed=0,1,2"), ("rounding_alexnet", "bgd_c", "replica=0,1,2")],
)
def test_the_command_line_makes_the_runs_of_the_plan(preset, method, axis):
    wanted = {spec.run_id for spec in specs("smoke", [preset]) if spec.method["name"] == method}
    with composing():
        jobs = jobs_of(["-m", f"experiment={preset}", "profile=smoke", f"method={method}", axis])
        kept = command._planned(jobs, given={"method"})
        assert {RunSpec.of(overrides.composed(job)).run_id for job in kept} == wanted
    assert len(kept) == len(wanted) < len(jobs) == 3


def test_a_seed_that_is_asked_for_is_run_and_none_at_all_is_refused():
    with composing():
        jobs = jobs_of(["-m", "experiment=table_4_12", "profile=smoke", "method=bgd_ii", "seed=7"])
        assert command._planned(jobs, given={"seed"}) == jobs
        with pytest.raises(ConfigError, match=r"scale\.seeds, scale\.replicas: the preset has no seed"):
            command._planned(jobs, given=set())


@pytest.mark.parametrize("profile", PROFILES)
def test_what_takes_runs_of_several_scales_can_tell_them_apart(profile, every_run):
    """By N0's recipe; two runs of one thing from one recipe end the command, after all runs are made."""
    kinds = (Claims, Comparison, FigureSpec, Headline)
    parts = [part for part in (*PAPER, *REPORT.parts) if isinstance(part, kinds)]
    assert {*map(type, parts)} == {*kinds}
    for part in parts:
        specs = [spec.identity for spec in every_run(profile, *part.presets)]
        known = [(recipe_of(spec), *identity_of(spec)) for spec in specs if PROBE not in spec]
        assert [key for key, count in Counter(known).items() if count > 1] == [], part.names


def test_after_a_preset_stands_what_is_made_from_it():
    config = SimpleNamespace(profile=SimpleNamespace(name="smoke"), output_dir="here")
    where = "--partial --profile smoke --output here"
    assert command.whats_next("table_4_8", config).splitlines() == [
        "table_4_8: its runs are for",
        "  tables/table_4_8, with those of base_networks_in_a_row, orders, readings_momentum, rounding",
        f"written by: python -m experiments.reproduce tables {where}",
        f"and, what only the report has: python -m experiments.from_records report {where}",
    ]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A method of the reader's own: one more yaml, and nothing else."""
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    for module in (groups, overrides, plan, titles):
        monkeypatch.setattr(module, "CONF", conf)
    monkeypatch.setattr(levels, "knowledge", partial(levels.knowledge, conf / "method"))

    def write(*of):
        text = (CONF / "method" / "output_bias.yaml").read_text()
        lines = [
            f"{GROUPS}: [{', '.join(of)}]" if line.startswith(GROUPS) else line for line in text.splitlines()
        ]
        text = "\n".join(lines).replace("name: output_bias", f"name: {MINE}")
        (conf / "method" / f"{MINE}.yaml").write_text(text)

    return write


def test_a_method_of_ones_own_is_in_the_plan(mine, tmp_path):
    mine(*IN_GROUPS)
    for preset, group in RUNS_GROUP.items():
        assert (MINE in methods_of(preset)) == (group in IN_GROUPS), preset
    with composing():
        assert f"method={MINE}" in {
            word for job in jobs_of(["-m", "experiment=frontier_points"]) for word in job
        }
        spec = plan._Composer("smoke").spec((("network", "mlp"), ("method", MINE)))
    assert MINE in Plan.of([spec], tmp_path, {}).text(1)


def test_a_method_of_ones_own_is_in_the_tables_and_the_report(mine, monkeypatch):
    mine(*IN_GROUPS)
    tables = runpy.run_path(sys.modules["experiments.thesis.tables"].__file__)
    monkeypatch.setitem(sys.modules, "experiments.thesis.tables", SimpleNamespace(**tables))
    report = runpy.run_path(sys.modules["experiments.thesis.report"].__file__)
    parts = (*tables["PAPER"], *report["REPORT"].parts)
    with_methods = {type(part).__name__: part.methods for part in parts if hasattr(part, "methods")}
    of_groups = ("Frontier", "Generality", "InARow", "BaseNetworks", "TrainingLoss", "Distributions", "SideEffects",
                 "Accumulation")  # fmt: skip
    assert {name: with_methods[name][-1] for name in of_groups} == dict.fromkeys(of_groups, MINE)

    runs = [make.run(make.rows(make.CORRECTED), method=name) for name in ("bgd_ii", MINE)]
    for kind in (Overview, Headline, Aims, BaseNetworks):
        (part,) = (part for part in parts if isinstance(part, kind))
        files = part.files(runs)
        for name in part.names if kind in (Overview, Headline) else part.names[:1]:
            assert MINE in files[name].decode().replace("\\_", "_"), name


def test_a_group_that_no_preset_runs_is_named_wherever_it_stands(mine):
    mine("frontier", "tabels")
    said = "least_squares.yaml: groups='tabels': there is no such group; did you mean 'tables'"
    with pytest.raises(ConfigError, match=said):
        methods_in("frontier")


def test_a_preset_of_a_group_without_methods_names_the_nearest(mine):
    mine(*IN_GROUPS)
    for preset in ("frontier_points", "survival"):
        path = overrides.CONF / "experiment" / f"{preset}.yaml"
        path.write_text(path.read_text().replace("group(frontier)", "group(fronteer)"))
    with composing(), pytest.raises(ConfigError, match=r"groups='frontier': .* did you mean 'fronteer'"):
        jobs_of(["-m", "experiment=frontier_points"])
