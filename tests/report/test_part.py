"""A study and its words."""

import pickle
from dataclasses import dataclass

import pytest
import yaml

from experiments.report.companions import Companions
from experiments.report.part import WORDS, Study, Text, Thesis
from experiments.report.public_bugs import PublicBugs
from experiments.report.sheet import Block
from experiments.thesis.report import REPORT
from experiments.thesis.tables import OVERVIEW, PAPER, RANKS

STUDIES = [part for part in (*PAPER, *REPORT.parts) if isinstance(part, Study)]
OF_TEXTS = {"cells", "claims", "gallery", "overview", "provenance"}
SHARED = {"tables", "tails", "gradient_ranks"} | OF_TEXTS


@dataclass(frozen=True)
class Small(Study):
    """A table and a text."""

    tables = ("aims",)
    texts = ("report/a.md",)

    def made(self, runs):
        yield self.sheet(["More."], [], [Block("", ["a", "b"], [["x", "y"]])], [range(10)])
        yield Text("report/a.md", "words")


def test_a_study_makes_the_files_that_it_names():
    files = Small().files([])
    assert tuple(files) == Small().names
    assert files["report/a.md"] == b"words"
    words = yaml.safe_load(WORDS.read_text())["aims"]
    assert files["tables/aims.md"].decode().startswith(f"**{words['heading']}.** {words['caption']} More.\n")
    assert files["tables/aims.csv"].decode().splitlines() == [
        ",".join(words["columns"]),
        "0,1,2,3,4,5,6,7,8,9",
    ]


def test_what_the_thesis_says_of_a_network_that_it_does_not_have_is_nothing():
    assert Thesis(errors=(("mlp", 947),)).errors_of("mlp") == 947
    assert Thesis().errors_of("mlp") is None


def test_every_table_has_words_and_every_word_a_table():
    words = yaml.safe_load(WORDS.read_text())
    tables = {name for study in STUDIES if study not in (*RANKS, OVERVIEW) for name in study.tables}
    assert set(words) == tables | SHARED
    assert all({"heading", "columns", "caption"} <= set(words[name]) for name in tables)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: type(study).__name__)
def test_a_study_is_known_by_its_definition_in_another_process(study):
    again = pickle.loads(pickle.dumps(study))
    assert {study: 1}[again] == 1
    assert study.presets or isinstance(study, (PublicBugs, Companions))  # which have records of their own
