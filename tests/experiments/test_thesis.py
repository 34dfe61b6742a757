"""The thesis profile, every kind of its runs, end to end at a small scale."""

from dataclasses import replace

import pytest

from experiments.config.spec import RunSpec
from experiments.jobs.execute import execute
from experiments.jobs.workbench import Place, Workbenches
from experiments.records.archive import Records
from experiments.records.store import Store
from experiments.thesis.publish import publish
from experiments.thesis.tables import MAIN

STEPS = {"steps": 3}  # of a descent, and of one inside another method


def small(spec: RunSpec) -> RunSpec:
    """The same run on the tiny subset, with a narrow AlexNet, few samples and a recipe of an instant."""
    recipe = replace(spec.scale.recipe, epochs=1, learning_rate=0.01)
    scale = replace(
        spec.scale, samples=2, train_images=60, test_images=60, expected_errors=(0, 400), recipe=recipe
    )
    network = {**spec.network, **({"width": 0.1} if "width" in spec.network else {})}
    method = {**spec.method, **(STEPS if "steps" in spec.method else {})}
    if "retrain" in method:
        method["retrain"] = {**method["retrain"], **STEPS}
    return replace(spec, network=network, method=method, scale=scale, dataset="tiny")


@pytest.mark.slow
def test_every_kind_of_run_of_it_runs_and_shows_in_the_tables(every_run, tmp_path):
    kinds = {}
    for name, runs in every_run.members("thesis").items():
        for spec in runs:
            kinds.setdefault((name, *spec.title.split()[:3]), spec)
    shrunk = {}
    for (name, *_), spec in sorted(kinds.items(), key=lambda item: item[1].network["name"]):
        shrunk.setdefault(name, []).append(small(spec))
    workbenches = Workbenches(Place(tmp_path / "data", tmp_path, "cpu", 1))
    specs = {spec.run_id: spec for each in shrunk.values() for spec in each}
    for spec in sorted(specs.values(), key=lambda spec: spec.bench_id):
        execute(spec, workbenches)
    store = Store(tmp_path / "runs")
    assert sorted(store.complete()) == sorted(specs)
    assert not store.failures()
    records = Records(
        {run_id: store.read(run_id) for run_id in specs},
        {name: tuple({spec.run_id for spec in each}) for name, each in shrunk.items()},
    )
    publish(records, tmp_path, "a test")
    table = (tmp_path / "tables" / "all_methods.md").read_text()
    methods = {spec.method["name"] for spec in shrunk[MAIN]}
    assert len(methods) == 9
    assert "BGD-II" in table
