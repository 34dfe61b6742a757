"""A run's identity, the presets and the plan."""

import json
from itertools import product
from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir

from bgd.errors import ConfigError
from bgd.methods.bgd import search
from experiments.config import spec as spec_module
from experiments.config.build import YOUNGER, build
from experiments.config.overrides import CONF, jobs_of
from experiments.config.presets import _choices, _Composer, presets, specs
from experiments.jobs.costs import kind_of, samples_in
from experiments.jobs.plan import Plan
from experiments.mnist import training
from experiments.mnist.data import SOURCES
from experiments.protocol import figures, settings
from experiments.records.members import reference_folder
from experiments.records.schema import subject
from experiments.records.store import Store
from experiments.report.figures import FigureSpec
from experiments.report.frames import KEPT
from experiments.thesis.tables import FIGURES, TABLES


def test_the_identity_changes_with_what_can_change_a_number_and_with_nothing_else(spec_of):
    base = spec_of()
    same = ("device=cpu", "threads=3", "data_dir=elsewhere", "output_dir=elsewhere", "scale.seeds=[5]")
    for override in same:
        assert spec_of(override).run_id == base.run_id, override
    other = (
        "network=alexnet", "method=bgd_i", "setting=non_reloading", "seed=1", "method.iterations=21",
        "method.update.form=full_norm", "scale.samples=5", "scale.train_images=99", "scale.recipe.epochs=3",
        "scale.recipe.seed=1", "order=1", "probe=gradient_ranks", "variant=no_pruning",
        "network.hidden1=13", "profile.dataset=mnist", "method.stop=never", "method.replace=printed",
    )  # fmt: skip
    found = {spec_of(override).run_id for override in other}
    assert len(found | {base.run_id}) == len(other) + 1
    assert spec_of("scale.recipe.seed=1").base_id != base.base_id
    assert spec_of("seed=1").base_id == spec_of("method=top_k").base_id == base.base_id


def test_an_option_younger_than_records_is_in_an_identity_where_it_is_used(spec_of):
    assert not {"stop", "replace"} & set(spec_of().identity["method"])
    inner = spec_of("method=bgd_ii_smallest", "method.inner.stop=never").identity["method"]["inner"]
    assert inner["stop"] == "never"
    assert "replace" not in inner


def test_a_younger_option_is_left_out_at_the_value_that_its_class_has_by_itself():
    for name, options in YOUNGER.items():
        assert options.items() <= vars({"SubsetSearch": search.SubsetSearch}[name]()).items()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (search, "VERSION"),
        (training, "VERSION"),
        (figures, "VERSION"),
        (settings, "VERSION"),
        (spec_module, "SCHEMA"),
    ],
)
def test_the_identity_changes_with_a_components_version(spec_of, monkeypatch, module, name):
    before, other = spec_of(), spec_of("method=top_k")
    run_ids, base_id = (before.run_id, other.run_id), before.base_id
    monkeypatch.setattr(module, name, getattr(module, name) + 1)
    before, other = spec_of(), spec_of("method=top_k")
    assert before.run_id != run_ids[0]
    assert (other.run_id != run_ids[1]) == (module is not search), "a method's version is its own"
    assert (before.base_id != base_id) == (module is training)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=abc", "seed='abc': must be an integer"),
        ("seed=1.5", "seed=1.5: must be an integer"),
        ("method.subset_size=-1", "method.subset_size=-1: must be at least 1"),
        ("method.subset_size=many", "method.subset_size='many': must be an integer"),
        ("method.update.form=diag", "method.update.form='diag': must be one of diagonal"),
        ("+method.foo=1", "method.foo: unknown key"),
        ("scale.samples=0", "scale.samples=0: must be at least 1"),
        ("scale.train_images=-5", "scale.train_images=-5: must be at least 1"),
        ("scale.recipe.learning_rate=-1", "scale.recipe.learning_rate=-1.0: must be above 0"),
        ("+scale.recipe.epoch=2", "scale.recipe.epoch: unknown key; did you mean 'epochs'"),
        ("~method.knows", "method.knows: missing; one of nothing, statistic, keep_set, training_data"),
        (
            "profile.dataset=cifar",
            "profile.dataset='cifar': must be one of fashion_mnist, kmnist, mnist, tiny",
        ),
        ("setting.accumulate=yes_please", "setting.accumulate='yes_please': must be true or false"),
    ],
)
def test_bad_input_is_named(spec_of, override, message):
    with pytest.raises(ConfigError) as caught:
        spec_of(override)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("network=alexnett", "network='alexnett': there is no such network; did you mean 'alexnet'"),
        ("method=bgd_2,top_k", "method='bgd_2': there is no such method; did you mean 'bgd_"),
        ("setting=reload", "setting='reload': there is no such setting; did you mean 'reloading'"),
        (
            "experiment=table_4_22",
            "experiment='table_4_22': there is no such experiment; did you mean 'table_4_2'",
        ),
        ("profile=big", "profile='big': there is no such profile; valid: laptop, smoke, thesis"),
    ],
)
def test_an_unknown_choice_names_the_nearest(argument, message):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        with pytest.raises(ConfigError) as caught:
            jobs_of([argument, "-m"])
        assert message in str(caught.value)
        sound = ["network=mlp,alexnet", "method=glob(bgd_i*)", "experiment=table_4_2", "seed=0", "-m"]
        jobs = jobs_of(sound)
    assert len(jobs) == len({tuple(job) for job in jobs}) == 2 * len(list((CONF / "method").glob("bgd_i*")))
    assert all({"experiment=table_4_2", "seed=0", "setting=reloading"} < set(job) for job in jobs)


THESIS = ("bgd_ii", "bgd_i", "bgd_c", "bgd_norm", "retrain", "fine_tune", "top_k", "l1", "random")


@pytest.mark.parametrize(
    "profile", ["smoke", *(pytest.param(name, marks=pytest.mark.slow) for name in ("laptop", "thesis"))]
)
def test_every_run_of_every_preset_composes_and_builds(every_run, profile):
    runs = every_run(profile)
    assert len({spec.run_id for spec in runs}) == len(runs)
    for spec in runs:
        build(spec.network, "network") if spec.network["name"] == "mlp" else None
        build(spec.method, "method")
        assert spec.seed in spec.scale.seeds
    main = {subject(spec.identity) for spec in every_run(profile, "every_method")}
    wanted = {(n, s, m) for n in ("mlp", "alexnet") for m in THESIS for s in ("reloading", "non_reloading")}
    assert main == wanted
    assert {spec.method["name"] for spec in runs} == {path.stem for path in (CONF / "method").glob("*.yaml")}
    probes = {subject(spec.identity)[1:] for spec in runs if spec.probe is not None}
    assert probes == {("probe", path.stem) for path in (CONF / "probe").glob("*.yaml")}
    assert "idealized" in {spec.method["name"] for spec in runs}


@pytest.mark.slow
def test_the_thesis_profile_is_at_the_thesis_scale(every_run):
    for spec in every_run("thesis"):
        scale = spec.scale
        assert (scale.samples, scale.train_images, scale.test_images) == (None, 54_000, 10_000)
        assert scale.recipe.epochs == {"mlp": 10, "alexnet": 40}[spec.network["name"]]
        assert scale.seeds == (0, 1, 2)
        assert samples_in(spec) > 100


@pytest.mark.slow
def test_the_laptop_profile_has_the_mlp_at_the_thesis_scale(every_run):
    thesis, laptop = (
        {spec.run_id for spec in every_run(profile, "every_method") if spec.network["name"] == "mlp"}
        for profile in ("thesis", "laptop")
    )
    assert thesis == laptop
    assert len(thesis) == 2 * (6 * 3 + 3 * 1), (
        "settings, methods and seeds; three methods draw nothing on the MLP"
    )
    for spec in every_run("laptop"):
        if spec.network["name"] == "mlp" and spec.scale.train_images < 54_000:
            assert spec.scale.train_images in (100, 10_000), "a study without dTL"
            assert spec.scale.test_images == 10_000


def test_where_no_seed_matters_one_is_run(spec_of, every_run):
    draws = {
        ("network=mlp", "method=bgd_ii"): True,
        ("network=mlp", "method=retrain"): False,
        ("network=mlp", "method=fine_tune"): False,
        ("network=mlp", "method=idealized"): False,
        ("network=alexnet", "method=retrain"): True,  # dropout
        ("network=alexnet", "method=l1", "method.training_mode=false"): False,
        ("network=alexnet", "method=l1", "network.dropout=0.0"): False,
        ("network=alexnet", "method=idealized"): True,
        ("network=mlp", "method=top_k"): True,  # says nothing
        ("network=mlp", "probe=gradient_ranks"): False,
    }
    assert {overrides: spec_of(*overrides).draws for overrides in draws} == draws
    seeds = {}
    for spec in every_run("laptop", "every_method"):
        seeds.setdefault(subject(spec.identity), set()).add(spec.seed)
    assert seeds["mlp", "reloading", "retrain"] == {0}
    assert seeds["mlp", "reloading", "bgd_ii"] == seeds["alexnet", "reloading", "retrain"] == {0, 1, 2}


def test_a_composed_sweep_is_what_hydra_composes(spec_of):
    """Values are set after composing the groups; Hydra itself takes them all at once."""
    runs = {spec.run_id for spec in specs("smoke", ["sensitivity", "orders", "first_order_step_retrain"])}
    for overrides in (
        ("network=mlp", "method=bgd_i", "method.subset_size=20", "method.iterations=5", "method.expansion=5",
         "method.replace_probability=0.9", "experiment=sensitivity"),
        ("network=mlp", "method=l1", "setting=non_reloading", "order=3"),
        ("network=alexnet", "method=retrain", "method.learning_rate=0.3", "experiment=first_order_step_retrain"),
    ):  # fmt: skip
        assert spec_of(*overrides).run_id in runs, overrides


@pytest.mark.parametrize(
    "choice",
    [
        (("network", "mlp"), ("method", "retrain"), ("scale.sample_steps", 3)),  # method.steps refers to it
        (("network", "mlp"), ("method", "bgd_ii"), ("variant", "no_pruning"), ("seed", 1)),
        (("experiment", "variance_reloading"), ("setting", "non_reloading"), ("scale.recipe.seed", 2)),
        (("probe", "gradient_ranks"), ("probe.count", 9)),
    ],
)
def test_a_choice_of_a_preset_is_what_hydra_composes(spec_of, choice):
    overrides = [f"{key}={value}" for key, value in choice]
    first, whole = spec_of(*overrides[:1]), spec_of(*overrides)
    composer = _Composer("smoke")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        found = [composer.spec(choice), composer.spec(choice[:1]), _Composer("smoke").spec(choice)]
        assert _Composer("smoke").spec(choice[:1]) == found[1], "what was composed before is not changed"
    assert found == [whole, first, whole]


def test_a_preset_over_a_key_that_is_not_there_names_the_nearest():
    said = r"method\.subset_sise: there is no such key; did you mean 'subset_size'"
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(ConfigError, match=said):
        _Composer("smoke").spec((("method", "bgd_ii"), ("method.subset_sise", 3)))


def test_a_probe_has_no_method_setting_or_seed(spec_of):
    probe = spec_of("probe=gradient_ranks")
    for override in ("method=top_k", "setting=non_reloading", "seed=1"):
        assert spec_of("probe=gradient_ranks", override).run_id == probe.run_id
    assert spec_of("probe=gradient_ranks", "probe.count=99").run_id != probe.run_id
    assert spec_of("probe=layer_gradients").run_id != probe.run_id
    assert probe.title == "mlp gradient_ranks probe"
    with pytest.raises(ConfigError, match="count=0: must be at least 1"):
        spec_of("probe=gradient_ranks", "probe.count=0")


def test_every_table_and_figure_has_its_preset_with_its_runs():
    """By the presets' own words: that every one of these runs composes is tested above."""
    assert {item.name for item in (*TABLES, *FIGURES)} <= set(presets())
    with initialize_config_dir(str(CONF), version_base="1.3"):
        runs = {
            name: [{key: str(value) for key, value in choice} for choice in _choices(name)]
            for name in presets()
        }
    for item in (*TABLES, *FIGURES):
        networks = item.networks if isinstance(item, FigureSpec) else (item.network,)
        own = [name for name in item.methods if not name.endswith(KEPT)]  # those have a preset of their own
        wanted = set(product(networks, own, [item.setting], "012"))
        found = [(run["network"], run["method"], run["setting"], run["seed"]) for run in runs[item.name]]
        assert sorted(found) == sorted(wanted), item.name


def test_a_plan_says_what_there_is_to_do(tmp_path, monkeypatch):
    runs = specs("smoke", ["table_4_2"])
    (tmp_path / "runs" / runs[0].run_id).mkdir(parents=True)
    (tmp_path / "runs" / runs[1].run_id).mkdir()
    (tmp_path / "runs" / f"{runs[2].run_id}.partial").mkdir()
    (tmp_path / "bases").mkdir()
    headers = {runs[0].run_id: "kept", runs[1].run_id: "another"}
    monkeypatch.setattr(Store, "finished", lambda _, name: name in headers)
    monkeypatch.setattr(
        Store, "header", lambda _, name: SimpleNamespace(base={"sha256": headers[name]}, samples=0)
    )
    (tmp_path / "bases" / f"{runs[0].base_id}.json").write_text('{"sha256": "kept"}')
    costs = {kind_of(spec.identity): 60.0 for spec in runs}
    plan = Plan.of(runs, tmp_path, costs)
    assert (len(plan.done), len(plan.todo)) == (1, 4)
    assert plan.seconds == sum(60.0 * spec.scale.samples for spec in plan.todo)
    text = plan.text(jobs=2)
    assert "5 runs: 1 cached, 4 to run" in text
    assert "N0 to train" not in text
    (tmp_path / "bases" / f"{runs[0].base_id}.json").unlink()
    monkeypatch.undo()
    assert "N0 to train: mlp" in Plan.of(runs[2:], tmp_path, costs).text(jobs=2)
    assert "about 12 min with 2 jobs" in text
    assert "guessed" not in text
    assert "no record tells" in Plan.of(runs, tmp_path, {}).text(1)


def test_a_plan_has_the_network_that_takes_least_time_first_and_its_dear_runs(tmp_path):
    runs = specs("smoke", ["figure_4_1"])
    costs = {kind_of(spec.identity): float(number) for number, spec in enumerate(runs, 1)}
    for dear, cheap in (("alexnet", "mlp"), ("mlp", "alexnet")):
        own = {kind: seconds * (100 if kind[0] == dear else 1) for kind, seconds in costs.items()}
        parts = Plan.by_network(Plan.of(runs, tmp_path, own).todo)
        assert [{subject(run.identity)[0] for run in part} for part in parts] == [{cheap}, {dear}]
        for part in parts:
            each = [own[kind_of(run.identity)] * run.scale.samples for run in part]
            assert each == sorted(each, reverse=True)
        few = {run.run_id for run in runs if subject(run.identity)[0] == cheap} - {parts[0][0].run_id}
        plan = Plan.of(runs, tmp_path, own, few | {parts[1][0].run_id})
        assert subject(plan.beyond[0].identity)[0] == cheap, "each part has its own order"


def test_a_plan_has_an_estimate_for_a_method_that_no_record_has(tmp_path):
    known, new = (specs("smoke", ["table_4_2"])[place] for place in (0, 1))
    costs = {kind_of(known.identity): 60.0}
    both = Plan.of([known, new], tmp_path, costs)
    assert both.guessed == 1
    assert both.seconds == 60.0 * (known.scale.samples + new.scale.samples), "by the mean of its network"
    assert (
        "about 12 min with 1 jobs, by the times in the records; 1 of the runs are of a kind without"
        in both.text(1)
    )
    assert "about 6 min" in Plan.of([new], tmp_path, costs).text(1)


def test_no_two_runs_of_the_laptop_plan_share_a_title_and_their_ids_are_the_committed_ones(every_run):
    runs = every_run("laptop")
    assert len({spec.title for spec in runs}) == len(runs)
    committed = json.loads((reference_folder("laptop") / "presets.json").read_text())
    members = every_run.members("laptop")
    for name, ids in committed.items():
        there = {subject(spec.identity)[0] for spec in members[name] if spec.run_id in ids}
        every = sorted(spec.run_id for spec in members[name] if subject(spec.identity)[0] in there)
        assert every == sorted(ids), f"{name}: of a network all of the plan's runs are committed, or none"


@pytest.mark.parametrize(
    ("overrides", "title"),
    [
        ((), "mlp bgd_ii reloading seed=0"),
        (("network=alexnet", "method=top_k"), "alexnet top_k reloading seed=0"),
        (("variant=no_pruning",), "mlp bgd_ii reloading prune=False seed=0"),
        (("variant=random_prior", "seed=1"), "mlp bgd_ii reloading prior=UniformPrior seed=1"),
        (("method.update.form=full_norm", "order=2"), "mlp bgd_ii reloading update.form=full_norm seed=0 order=2"),
        (("scale.samples=null", "scale.test_images=9"), "mlp bgd_ii reloading samples=all test_images=9 seed=0"),
        (("method=retrain", "scale.sample_steps=3"), "mlp retrain reloading steps=3 seed=0"),
        (("network.hidden1=13", "scale.recipe.epochs=1"), "mlp bgd_ii reloading network.hidden1=13 recipe.epochs=1 seed=0"),  # noqa: E501
        (("profile.dataset=mnist",), "mlp bgd_ii reloading dataset=mnist seed=0"),
        (("probe=gradient_ranks", "probe.count=9"), "mlp gradient_ranks probe count=9"),
    ],
)  # fmt: skip
def test_a_title_names_every_option_that_is_not_as_in_the_files(spec_of, overrides, title):
    assert spec_of(*overrides).title == title


def test_the_sizes_of_the_data_sets_are_theirs(tiny):
    source = SOURCES["tiny"]
    assert len(tiny.test) == source.test_images
    assert len(tiny.train) == source.train_images - source.held_out
    assert len(tiny.held_out) == source.held_out
