import csv
import io
from dataclasses import replace

import pytest

from experiments.report.frames import ReportError, build_frames
from experiments.report.overview import HEADLINE, Headline, all_methods, result_table
from experiments.thesis.publish import insert_between_markers
from tests.records_factory import CORRECTED, UNCORRECTED, figures, row, rows, run


@pytest.fixture
def runs():
    after = figures(test_accuracy=0.6)
    return [
        run(rows(CORRECTED, CORRECTED)),
        run(rows(CORRECTED, UNCORRECTED), method="a_new_one"),
        run((row(0), row(1, figures=after)), setting="non_reloading"),
        run(rows(CORRECTED), network="alexnet", errors=4, train_images=500),
    ]


def cells(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_method_found_is_in_every_form(runs):
    frames = build_frames(runs)
    lines = list(csv.DictReader(io.StringIO(all_methods(frames)["csv"])))
    new = {line["metric"]: line for line in lines if line["method"] == "a_new_one"}
    assert (new["POC"]["network"], new["POC"]["setting"], new["POC"]["mean"]) == ("mlp", "reloading", "50.0")
    assert "final_test_accuracy" not in new  # it has no meaning where N0 comes back for every sample
    assert {line["metric"] for line in lines if line["setting"] == "non_reloading"} >= {"final_test_accuracy"}
    assert ["a_new_one", "1", "50"] in [line[:3] for line in cells(all_methods(frames)["md"])]
    assert r"a\_new\_one & 1 & 50" in all_methods(frames)["tex"]


def test_all_methods_of_no_runs():
    frames = build_frames([])
    assert all_methods(frames)["csv"].count("\n") == 1
    assert all_methods(frames)["md"]
    assert all_methods(frames)["tex"] == ""


def test_result_table_has_a_line_per_network_and_method(runs):
    table = cells(result_table(runs))
    assert [line[:2] for line in table[2:]] == [
        ["AlexNet", "BGD-II"],
        ["MLP", "BGD-II"],
        ["MLP", "a_new_one"],
    ]
    assert table[3][2:] == ["100", "0.20", "0", "0", "0", "100", "1"]
    assert table[4][2:] == ["50", "0.20", "0", "0", "0", "missing", "missing"]


def test_result_caption_tells_the_scale(runs):
    caption = result_table(runs).strip().splitlines()[-1]
    assert "AlexNet: reduced scale, 1 of 4 misclassified samples, 500 training" in caption
    assert (
        "MLP: full scale, all 2 misclassified samples, 54,000 training and 10,000 test images, seed 0."
        in caption
    )
    assert "MLP: no runs." in result_table(runs[-1:])


def test_result_caption_is_loud_and_counts_what_is_left_out():
    made = (row(0, figures=figures(train_loss=None)), row(1))
    caption = result_table([run(made, expected=[600, 1000])])
    assert "**MLP: WARNING: N0 has 2 errors, outside the expected 600 to 1,000.**" in caption
    assert "Rows left out because a loss is not finite: MLP, BGD-II: 1." in caption


def scales():
    """AlexNet reloading at two scales, one method at the smaller alone, and one in a row at the smaller."""
    small = [
        run(rows(CORRECTED, UNCORRECTED), network="alexnet", method=method, train_images=500)
        for method in ("bgd_ii", "top_k", "a_new_one")
    ]
    large = [
        run(rows(CORRECTED), network="alexnet", method=method, epochs=40, base_id="whole")
        for method in ("bgd_ii", "top_k")
    ]
    row_of_them = run(
        (row(0), row(1)), network="alexnet", setting="non_reloading", train_images=500, expected=[3, 4]
    )
    return small, large, row_of_them


def test_the_result_table_takes_a_setting_at_its_largest_scale_that_has_the_methods():
    small, large, in_a_row = scales()
    table = result_table([*small, in_a_row, *large], ("bgd_ii", "top_k"))
    lines = {line[1]: line[2:] for line in cells(table)[2:]}
    assert {name: (line[0], line[5]) for name, line in lines.items()} == {
        "BGD-II": ("100", "100"),
        "Top-k": ("100", "missing"),
        "a_new_one (other scale)": ("50", "missing"),
    }
    caption = table.strip().splitlines()[-1]
    assert "AlexNet: reloading: full scale, all 1 misclassified samples" in caption
    assert "; non-reloading: reduced scale, all 2 misclassified samples, 500 training" in caption
    assert "**AlexNet: WARNING: N0 has 2 errors, outside the expected 3 to 4.**" in table
    assert "different N0" not in table  # each setting has one
    assert "AlexNet (other scale): reduced scale, all 2 misclassified samples, 500 training" in caption


def test_without_one_of_the_methods_the_larger_scale_is_left_out():
    small, large, in_a_row = scales()
    wanted = result_table([*small, in_a_row], ("bgd_ii", "top_k"))
    assert result_table([*small, in_a_row, large[0]], ("bgd_ii", "top_k")) == wanted
    assert "(other scale)" not in wanted
    part = Headline(methods=("bgd_ii", "top_k"))
    assert part.files([*small, in_a_row, large[0]])[HEADLINE].decode() == wanted
    alone = run(rows(CORRECTED), network="alexnet", method="random", epochs=40, base_id="whole")
    assert "| AlexNet | Random (other scale) | 100 |" in result_table([*small, alone], ("bgd_ii", "top_k"))


def test_the_caption_names_the_methods_whose_figures_are_by_a_part_of_d():
    large = scales()[1]
    part = replace(large[1], header=replace(large[1].header, train_part=3000))
    caption = result_table([large[0], part]).strip().splitlines()[-1]
    assert "AlexNet: full scale: BGD-II: all 1 misclassified samples, 54,000 training and" in caption
    assert "Top-k: all 1 misclassified samples, 54,000 training (by a stratified 3,000 of them)" in caption


README = "# Title\n\n<!-- results:begin -->\nold | table\n<!-- results:end -->\n\nrest\n"


def test_only_what_is_between_the_markers_changes():
    changed = insert_between_markers(README, "new\n")
    assert changed == "# Title\n\n<!-- results:begin -->\nnew\n<!-- results:end -->\n\nrest\n"
    assert insert_between_markers(changed, "new") == changed


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        README.replace("<!-- results:end -->", ""),
        README.replace("<!-- results:begin -->", ""),
        README + README,
        "<!-- results:end --> <!-- results:begin -->",
    ],
)
def test_markers_must_be_there_once_and_in_order(text):
    with pytest.raises(ReportError, match="results:"):
        insert_between_markers(text, "new")
