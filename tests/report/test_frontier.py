"""The frontier, its aims, and generality: numbers by hand, equal samples, and what is missing."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from bgd.errors import ConfigError
from bgd.knowledge import LEVELS as LEVELS_OF_METHODS
from experiments.records.schema import Generality as Counted
from experiments.report.contenders import EVERY, Contender, contenders_of, frames_of
from experiments.report.frames import ReportError, build_frames
from experiments.report.frontier import BUDGETS, Aims, Frontier
from experiments.report.frontier_figure import MEASURES, split, value_of
from experiments.report.generality import Generality
from experiments.report.knowledge import LEVELS, describe_knowledge, level_of
from experiments.report.named import chosen, look
from experiments.report.overview import all_methods
from experiments.report.part import Part, Thesis
from experiments.report.scope import Scope
from experiments.report.standings import Aim, same_samples, standings
from experiments.report.style import method_style
from experiments.thesis.levels import METHODS as METHOD_FILES, check_methods, knowledge
from experiments.thesis.tables import CHAPTER, FRONTIER_METHODS, ROW_METHODS
from tests.records_factory import CORRECTED, UNCORRECTED, figures, row, run, side_effects

KNOWLEDGE = (
    ("bgd_ii", "nothing"),
    ("bgd_c", "statistic"),
    ("least_change", "nothing"),
    ("least_harm", "keep_set"),
    ("least_harm_data", "training_data"),
)
AIMS = (
    Aim("mlp", "POC", "at least", 100.0),
    Aim("mlp", "changed_median", "at most", 5.0),
    Aim("mlp", "dTA_mean", "at least", -0.0006),
    Aim("mlp", "dTA_worst", "at least", -0.001),
)
TOLD = Thesis(knowledge=KNOWLEDGE)
METHODS = tuple(name for name, _ in KNOWLEDGE)
PART = Frontier(TOLD, methods=METHODS, aims=AIMS)
N0 = 0.8  # accuracy


def corrections(changes, changed, wrong=()):
    """Rows with these changes of the accuracy in images of 10,000; those in `wrong` are uncorrected."""
    return tuple(
        row(place, UNCORRECTED, search_seconds=1.0)
        if place in wrong
        else row(
            place,
            CORRECTED,
            l0=changed[place],
            figures=figures(test_accuracy=N0 + images / 10_000),
            side_effects=side_effects(broken=max(0, 1 - images)),
            search_seconds=float(place),
        )
        for place, images in enumerate(changes)
    )


def example():
    return [
        run(corrections([-10, -20, -60, 0], [3, 5, 9, 4]), method="bgd_ii"),
        run(corrections([1, -3, -2], [1, 1, 2], wrong=(1,)), method="bgd_c"),
        *(
            run(corrections([1, -at, -at], [at, at, at]), method="least_harm", options={"budget": budget})
            for budget, at in ((1, 1), (5, 4), (None, 1000), (16, 3))
        ),
    ]


PRESETS = {path.stem for path in (METHOD_FILES.parent / "experiment").glob("*.yaml")}


def rows_of(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


@pytest.fixture(scope="module")
def files():
    return PART.files(example())


def standing(runs, method, budget=""):
    frames, _ = frames_of(runs, "reloading", ("mlp",))
    found = standings(same_samples(frames), KNOWLEDGE)
    return next(item for item in found if (item.contender.method, item.contender.budget) == (method, budget))


def test_the_numbers_by_hand_over_the_samples_that_every_run_met():
    full = standing(example(), "bgd_ii")  # of four samples, three are common
    changes = np.array([-10, -20, -60]) / 10_000
    assert (full.n, full.corrected, full.POC) == (3, 3, 100)
    assert (full.changed_median, full.changed_max) == (5, 9)
    assert full.dTA_mean == pytest.approx(changes.mean())
    assert full.dTA_p5 == pytest.approx(np.percentile(changes, 5))
    assert full.dTA_worst == pytest.approx(-0.006)
    assert full.broken == pytest.approx((11 + 21 + 61) / 3)
    assert full.seconds == 1
    assert full.dTA_interval.low <= full.dTA_mean <= full.dTA_interval.high
    alone = standing(example()[:1], "bgd_ii")
    assert (alone.n, alone.dTA_mean) == (4, pytest.approx(-90 / 4 / 10_000))
    # An uncorrected sample counts against POC and has no side effects; its seconds count.
    part = standing(example(), "bgd_c")
    assert (part.n, part.corrected, part.POC) == (3, 2, pytest.approx(200 / 3))
    assert part.dTA_mean == pytest.approx(-0.5 / 10_000)
    assert part.seconds == 1


def test_runs_that_met_other_samples_are_refused():
    other = tuple(replace(item, index=item.index + 1) for item in corrections([1, 1, 1], [1, 1, 1]))
    with pytest.raises(ReportError, match="different samples at place 0"):
        PART.files([*example(), run(other, method="least_change")])


def test_a_method_of_unknown_knowledge_and_twins_are_refused():
    with pytest.raises(ReportError, match="method 'top_k' knows None"):
        PART.files([run(corrections([1], [1]), method="top_k")])
    with pytest.raises(ReportError, match="two runs of"):
        PART.files([*example(), replace_id(example()[0])])


def replace_id(one):
    return replace(one, header=replace(one.header, run_id="again"))


def test_what_tells_runs_apart_is_found_within_a_method_and_a_network():
    runs = [
        run(method="ewc", options={"steps": 10, "keep": 100}),
        run(method="ewc", options={"steps": 10, "keep": 1000}),
        run(method="ewc", network="alexnet", options={"steps": 40, "keep": 100}),
        run(method="least_harm", options={"budget": None, "price": {"images": 10}}),
        run(method="least_harm", options={"budget": 5, "price": {"images": 20}}),
        run(method="top_k"),
    ]
    named = [contenders_of(runs)[one.header.run_id] for one in runs]
    assert named[0] == Contender("ewc", "", (("keep", "100"),))
    assert named[0].label == "EWC, keep 100"
    assert named[2] == Contender("ewc")  # its steps differ from the MLP's, not from another run's of AlexNet
    assert named[3] == Contender("least_harm", "all", (("price.images", "10"),))
    assert named[4].budget == "5"
    assert named[5] == Contender("top_k")


def test_the_table_is_sorted_by_knowledge_then_by_harm(files):
    assert sorted(files) == sorted(PART.names)
    lines = [line for line in rows_of(files["tables/frontier.csv"]) if line["network"] == "mlp"]
    found = [(line["method"], line["budget"]) for line in lines]
    harm = [("least_harm", "1"), ("least_harm", "16"), ("least_harm", "5"), ("least_harm", "all")]
    assert found == [("lookup", ""), ("bgd_ii", ""), ("bgd_c", ""), *harm]
    lookup = lines[0]
    assert (lookup["note"], lookup["broken"]) == ("by construction, not measured", "0")
    assert (lookup["changed_max"], lookup["dTA_mean"], lookup["seconds"]) == ("0", "", "")
    text = files["tables/frontier.md"].decode()
    assert "MLP: the first 3 of 4 misclassified samples, those that every run met" in text
    assert "Missing, no run among the records: Least change and Least harm, training data." in text
    assert "missing, no runs of AlexNet in the reloading setting" in text
    assert "| BGD-C | a statistic |  | 66.67 | 2 | 1.50 | 2 |" in text
    assert "| 4 of 4 |" in text


def test_aims_are_met_on_their_edge_and_not_beyond():
    edge = Aim("mlp", "dTA_mean", "at least", -0.0006)
    assert edge.met_by(-0.0006)
    assert edge.met_by(float(np.mean([-0.0005, -0.0007])))
    assert not edge.met_by(-0.00061)
    assert not edge.met_by(None)
    assert not edge.met_by(float("nan"))
    most = Aim("mlp", "changed_max", "at most", 50)
    assert most.met_by(50)
    assert not most.met_by(51)


def test_the_table_of_aims_holds_every_method_against_them():
    part = Aims(TOLD, aims=AIMS)
    looked = [{"own": 1.0, "bfloat16": 1.0, "int8": lead} for lead in (1.0, 0.0, None, 2.0)]
    rows = [row(place, CORRECTED, survival=each, l0=999) for place, each in enumerate(looked)]
    there = run(tuple(rows), method="least_harm", options={"budget": 1})
    elsewhere = replace(
        there, header=replace(there.header, spec=there.header.spec | {"survival": ["int8"]}, run_id="there")
    )
    files = part.files([*example(), elsewhere])
    assert sorted(files) == sorted(part.names)
    text = files["tables/aims.md"].decode()
    assert "| aim |  | at least 100 | at most 5 | at least -0.0006 | at least -0.001 |  |  |  |  |" in text
    lines = [line for line in text.splitlines() if line.startswith("| Least harm")]
    assert len(lines) == 4
    assert (
        lines[0]
        == "| Least harm | a keep-set | 100 ✓ | 1 ✓ | -3.3e-05 ✓ | -1.0e-04 ✓ | 0 | 50 | 1 | 4 of 4 |"
    )
    assert (
        lines[1] == "| Least harm | a keep-set | 100 ✓ | 3 ✓ | -1.7e-04 ✓ | -3.0e-04 ✓ | 0 |  | 1 | 4 of 4 |"
    )
    every = [line for line in rows_of(files["tables/aims.csv"]) if line["network"] == "mlp"]
    assert len(every) == 6 * len(AIMS)
    assert sum(line["met"] == "True" for line in every if line["budget"] == "all") == 1


def test_curves_are_two_or_more_of_the_budgets_and_a_loss_is_the_accuracy_turned_round():
    frames, _ = frames_of(example(), "reloading", ("mlp",))
    found = standings(same_samples(frames), KNOWLEDGE)
    drawn = split(found, BUDGETS)
    (curve,) = (group for name, group in drawn.items() if name.budget == EVERY)
    assert [item.contender.budget for item in curve] == ["1", "5", "all"]
    assert {name.method for name in drawn if name.budget != EVERY} == {"bgd_ii", "bgd_c", "least_harm"}
    without = split([item for item in found if item.contender.budget != "5"], ("1", "5"))
    assert all(name.budget != EVERY for name in without)
    worst = next(panel for panel in MEASURES if panel.quantity == "dTA_worst")
    assert value_of(standing(example(), "bgd_ii"), worst) == pytest.approx(0.006)


def test_files_do_not_depend_on_the_order_and_say_where_nothing_was_corrected():
    never = run(
        corrections([0, 0, 0], [0, 0, 0], wrong=(0, 1, 2)), method="least_change", options={"budget": 1}
    )
    runs = [*example(), never]
    files = PART.files(runs)
    assert files == PART.files(runs[::-1])
    line = next(line for line in rows_of(files["tables/frontier.csv"]) if line["method"] == "least_change")
    assert (line["POC"], line["dTA_mean"], line["note"]) == ("0", "", "none corrected") or line[
        "POC"
    ] == "0.0"
    assert "none corrected" in files["tables/frontier.md"].decode()
    # Other settings, orders and N0 are not looked at.
    other = [run(corrections([-1], [1]), setting="non_reloading"), run(corrections([-1], [1]), order=1)]
    assert PART.files([*runs, *other]) == files


def test_it_works_without_runs():
    for part in (PART, Aims(TOLD, aims=AIMS), Generality(TOLD, methods=METHODS)):
        files = part.files([])
        assert sorted(files) == sorted(part.names)
        checked: Part = part
        assert set(checked.presets) <= PRESETS


def test_named_curves_are_few_and_in_the_order_of_their_names():
    found = {Contender("bgd_ii"): 1, Contender("least_harm", EVERY): 2, Contender("bgd_i"): 3}
    names = {"Least harm, by budget": "ours", "BGD-II": "theirs", "BGD-C": "absent"}
    assert list(chosen(found, names).items()) == [("ours", 2), ("theirs", 1)]
    assert look(names, "ours") != look(names, "theirs")
    with pytest.raises(ReportError, match="9 named curves: at most 8"):
        chosen(found, dict.fromkeys("abcdefghi", ""))


def test_the_figures_of_the_report_name_curves_that_are_in_its_tables():
    told = [*CHAPTER.names_frontier, *CHAPTER.names_in_a_row]
    labels = {method_style(name).label for name in (*FRONTIER_METHODS, *ROW_METHODS)}
    assert all(any(whole.startswith(label) for label in labels) for whole, _ in told)


def test_levels_are_those_that_methods_are_held_to():
    assert tuple(LEVELS) == LEVELS_OF_METHODS
    with pytest.raises(ReportError, match="knows 'everything'"):
        level_of("mine", (("mine", "everything"),))


def test_knowledge_in_a_sentence():
    start = "Beyond the network and the sample"
    assert describe_knowledge(["bgd_ii"], KNOWLEDGE) == f"{start}, no method here knows anything."
    assert describe_knowledge(["bgd_ii", "bgd_c"], KNOWLEDGE) == (
        f"{start}, BGD-C knows a statistic of the training data; every other method here nothing."
    )
    assert describe_knowledge(["least_harm", "least_harm_data"], KNOWLEDGE) == (
        f"{start}, Least harm knows unlabelled images that are set aside;"
        " Least harm, training data knows the training data."
    )
    assert describe_knowledge(["bgd_ii"], ()) == ""
    assert describe_knowledge([], KNOWLEDGE) == ""


def test_captions_of_other_tables_say_what_their_methods_know():
    sentence = "BGD-C knows a statistic of the training data; every other method here nothing."
    methods = ("bgd_ii", "bgd_c")
    runs = [run((row(0),), method=method) for method in methods]
    frames = build_frames(runs)
    assert sentence in " ".join(Scope("reloading", ("mlp",), methods, TOLD).caption(frames))
    assert sentence in all_methods(frames, KNOWLEDGE)["md"]
    assert sentence in all_methods(frames, KNOWLEDGE)["tex"]
    assert sentence not in all_methods(frames)["md"]


def test_the_knowledge_of_the_report_is_that_of_the_yaml_files(tmp_path):
    assert dict(knowledge())["bgd_c"] == "statistic"
    assert {name for name, _ in knowledge()} == {path.stem for path in METHOD_FILES.glob("*.yaml")}
    (tmp_path / "mine.yaml").write_text("name: mine\nknows: little\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: knows='little': must be one of nothing"):
        check_methods(tmp_path)


def general(*counts):
    return Counted(*(list(each) for each in counts))


def test_generality_pools_images_over_the_corrected_samples():
    rows = (
        row(0, generality=general((8, 1, 7), (4, 0, 3), (8, 0, 8), (0, 0, 0)), forward_passes=10),
        row(1, generality=general((8, 0, 1), (4, 1, 4), (8, 2, 4), (6, 0, 3)), forward_passes=20),
        row(2, UNCORRECTED, forward_passes=90),
    )
    part = Generality(TOLD, methods=("bgd_ii", "bgd_c"))
    runs = [run(rows), run((row(0),), method="bgd_c"), run((row(0, UNCORRECTED),), method="least_change")]
    files = part.files(runs[:1])
    assert sorted(files) == sorted(part.names)
    lines = {line["kind"]: line for line in rows_of(files["tables/generality.csv"])}
    counts = {kind: (line["images"], line["right_N0"], line["right_after"]) for kind, line in lines.items()}
    assert counts == {
        "shifts": ("16", "1", "8"),
        "rotations": ("8", "1", "7"),
        "noise": ("16", "2", "12"),
        "same_confusion": ("6", "0", "3"),
    }
    text = files["tables/generality.md"].decode()
    assert (
        "| BGD-II | nothing |  | 2 | 50 (6.25) | 87.50 (12.50) | 75 (12.50) | 50 | 6 | 0.010 | 21 |" in text
    )
    every = part.files(runs)["tables/generality.md"].decode()
    assert "| BGD-C | a statistic |  | 1 | not measured | not measured |" in every
    assert "| Least change | nothing |  | 0 | none corrected |" in every


def test_every_column_of_the_frontier_has_a_name_of_its_own(files):
    columns = files["tables/frontier.csv"].decode().splitlines()[0].split(",")
    assert len(columns) == len(set(columns))
    assert all(None not in line for line in rows_of(files["tables/frontier.csv"]))
