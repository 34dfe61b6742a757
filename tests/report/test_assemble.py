"""The report as a whole: what it needs, what it says of its runs, and what stops it."""

from dataclasses import dataclass, replace

import pytest
import records_factory as make

from bgd.errors import ConfigError
from experiments.records.archive import Records
from experiments.report.assemble import Report, assemble
from experiments.report.build import build, is_from, names_of
from experiments.report.figures import FigureSpec
from experiments.report.frames import ReportError
from experiments.report.overview import HEADLINE, Headline
from experiments.report.page import THUMBNAILS, Chapter, Document, Item
from experiments.thesis.report import FOLDER, REPORT as OF_THE_THESIS, read_documents
from experiments.thesis.tables import MAIN, PAPER, TABLES

TABLE = TABLES[1]  # 4.2, the MLP
FIGURE = FigureSpec("figure_4_1", "accuracies", ("mlp",), "reloading", ("bgd_ii",))
BUILT = (TABLE, FIGURE)


@dataclass(frozen=True)
class Counted:
    """A part that says how many runs it was given."""

    presets: tuple[str, ...] = ("some",)
    names: tuple[str, ...] = ("report/counted.md",)

    def files(self, runs):
        return {"report/counted.md": f"There were {len(runs)} of them.\n".encode()}


ITEMS = (
    Item(HEADLINE),
    Item("report/counted.md"),
    Item("tables/table_4_2.md"),
    Item("figures/figure_4_1.png", alt="a figure", caption="What it shows."),
    Item("report/provenance.md"),
)
REPORT = Report(
    (Counted(), Headline(presets=(MAIN,))),
    (
        Document(
            "A report",
            "Read this.",
            (Chapter("All of it", "See [the rest](../report/counted.md).", ITEMS[2:4]),),
        ),
        Document(
            "The rest", chapters=(Chapter("More", items=(*ITEMS[:2], ITEMS[4])),), page="rest.html", text=""
        ),
    ),
)


@pytest.fixture
def records():
    runs = [
        make.run(make.rows(make.CORRECTED, make.UNCORRECTED), method=method, seed=seed, setting=setting)
        for method, seed, setting in (
            ("bgd_ii", 0, "reloading"),
            ("bgd_ii", 1, "reloading"),
            ("top_k", 0, "reloading"),
            ("bgd_norm", 0, "reloading"),
            ("bgd_ii", 0, "non_reloading"),
        )
    ]
    ids = tuple(run.header.run_id for run in runs)
    presets = {MAIN: ids, "some": ids[:2], "table_4_2": ids, "figure_4_1": ids}
    return Records({run.header.run_id: run for run in runs}, presets)


def built(records, folder):
    build(records, BUILT, folder, "a test")
    return {path.relative_to(folder).as_posix(): path for path in assemble(records, BUILT, REPORT, folder)}


def test_every_file_is_written_and_every_item_says_what_it_is_from(records, tmp_path):
    files = built(records, tmp_path)
    assert tuple(files) == REPORT.names
    text, rest = (files[f"report/{name}"].read_text() for name in ("report.md", "rest.html"))
    assert "What it shows.\n" in text
    assert "From 5 runs of <code>every_method</code>" in rest, "the appendix alone says it of each item"
    assert "<p>There were 2 of them.</p>\n<p>From 2 runs of <code>some</code>" in rest
    assert "missing:" not in (text + rest).replace("missing: no run", "")
    listed = files["report/runs.csv"].read_text().splitlines()
    assert len([line for line in listed if "tables/table_4_2.md" in line]) == 3
    page = files["report/index.html"].read_text()
    assert "5 runs with 10 rows" in page
    assert "5 of 5 runs are from a copy without git" in rest
    assert 'href="rest.html#counted"' in page
    assert 'href="index.html#table_4_2"' in rest, "of the files behind each item"
    assert "data:image/" in page


def test_the_same_records_give_the_same_bytes(records, tmp_path):
    first = {name: path.read_bytes() for name, path in built(records, tmp_path / "a").items()}
    turned = Records(dict(reversed(records.runs.items())), records.presets)
    assert {name: path.read_bytes() for name, path in built(turned, tmp_path / "b").items()} == first


def test_it_knows_which_records_it_is_from(records, tmp_path):
    files = built(records, tmp_path)
    assert is_from(list(records.runs), tmp_path, REPORT.names, REPORT.pages[0])
    assert not is_from(list(records.runs)[:-1], tmp_path, REPORT.names, REPORT.pages[0])
    files["report/counted.md"].unlink()
    assert not is_from(list(records.runs), tmp_path, REPORT.names, REPORT.pages[0])


def test_a_table_that_was_not_built_stops_it(records, tmp_path):
    built(records, tmp_path)
    (tmp_path / "tables" / "table_4_2.md").unlink()
    with pytest.raises(ReportError, match=r"table_4_2\.md is missing"):
        assemble(records, BUILT, REPORT, tmp_path)


def test_records_of_different_versions_stop_it_before_anything_is_written(records, tmp_path):
    old, new = list(records.runs)[:2]
    runs = dict(records.runs)
    for run_id, version in ((old, 1), (new, 2)):
        spec = {**runs[run_id].header.spec, "versions": {"evaluation": version}}
        runs[run_id] = replace(runs[run_id], header=replace(runs[run_id].header, spec=spec))
    with pytest.raises(ReportError, match="evaluation is 1"):
        assemble(Records(runs, records.presets), BUILT, REPORT, tmp_path)
    assert not (tmp_path / "report").exists()


def test_the_report_of_the_thesis_names_files_that_are_made():
    named = {item.name for document in OF_THE_THESIS.documents for item in document.items} - {THUMBNAILS}
    assert named <= {*OF_THE_THESIS.names, *names_of(PAPER)}
    assert {name for part in OF_THE_THESIS.parts for name in part.names if name.endswith(".md")} <= {
        *named,
        HEADLINE,
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Aims", "titel: Aims", r"report\.chapters\.items\.titel: unknown key; did you mean 'title'"),
        ("- title: Gallery\n", "- titles: Gallery\n", r"report\.chapters\.titles: unknown key"),
        (
            "name: tables/orders.md",
            "name: tables/variance.md",
            "more than once in the document: table_variance",
        ),
    ],
)
def test_a_mistake_in_its_yaml_is_named(tmp_path, old, new, message):
    text = (FOLDER / "report.yaml").read_text()
    assert old in text
    (tmp_path / "report.yaml").write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        read_documents(tmp_path / "report.yaml")
