import csv
import io

import pytest

from experiments.report.frames import build_frames
from experiments.report.render import SUMMARY, tex
from experiments.report.tables import REFERENCE_COLUMNS, TableSpec, evaluate, read_reference
from tests.records_factory import UNCORRECTED, figures, row, rows, run


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "tables.csv"
    lines = [
        ",".join(REFERENCE_COLUMNS),
        "4.2,mlp,reloading,POC,bgd_ii,99.5,0.5",
        "4.2,mlp,reloading,POC,retrain,100,",
        "4.2,mlp,reloading,dTA,bgd_ii,0.03,0.07",
    ]
    path.write_text("\n".join(lines) + "\n")
    metrics = ("POC", "dTL", "dTL_released", "dTA")
    spec = TableSpec("table_4_2", "A title.", "mlp", "reloading", ("bgd_ii", "retrain", "top_k"), metrics)
    better = figures(train_loss=0.35, test_accuracy=0.6)
    runs = [
        run((row(0, figures=better), row(1, figures=better)), seed=0, expected=[9, 10]),
        run((row(0, figures=better), row(1, UNCORRECTED)), seed=1, expected=[9, 10]),
        run(rows(UNCORRECTED), method="retrain"),
    ]
    return evaluate(spec, build_frames(runs), read_reference(path))


def test_csv_is_tidy_with_full_precision(table):
    lines = list(csv.DictReader(io.StringIO(table.sheet().files()["tables/table_4_2.csv"].decode())))
    assert list(lines[0]) == ["metric", "method", *SUMMARY, "thesis_mean", "thesis_sd"]
    assert len(lines) == 4 * 3
    cells = {(line["metric"], line["method"]): line for line in lines}
    poc = cells["POC", "bgd_ii"]
    assert (float(poc["mean"]), float(poc["sd"])) == pytest.approx((75, 35.3553390593))
    assert (poc["n"], poc["sd_over"], poc["thesis_mean"], poc["thesis_sd"]) == ("2", "seeds", "99.5", "0.5")
    change = cells["dTL", "bgd_ii"]
    assert (float(change["mean"]), change["n"], change["sd_over"]) == (pytest.approx(0.1), "3", "samples")
    assert cells["POC", "top_k"]["mean"] == "missing"
    assert cells["dTL", "retrain"]["mean"] == "none corrected"
    assert cells["POC", "retrain"]["sd"] == ""  # one seed


def test_markdown_has_ours_above_the_thesis_and_says_what_is_missing(table):
    text = table.sheet().files()["tables/table_4_2.md"].decode()
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    assert lines[0] == ["", "", "BGD-II", "Re-training", "Top-k"]
    assert lines[2:] == [
        ["POC (%)", "ours", "75 ± 35.36", "0", "missing †"],
        ["", "thesis", "99.5 ± 0.5", "100", ""],
        ["ΔTL", "ours", "0.10", "none corrected", "missing †"],
        ["ΔTL, released accounting", "ours", "-0.0040", "none corrected", "missing †"],
        ["ΔTA", "ours", "-0.20", "none corrected", "missing †"],
        ["", "thesis", "0.03 ± 0.07", "", ""],
        ["n", "ours", "3", "0", "missing †"],
    ]
    assert "**WARNING: N0 has 2 errors, outside the expected 9 to 10.**" in text
    assert text.startswith("**Table 4.2.** A title.")


def test_tex_has_as_many_columns_in_every_line(table):
    text = table.sheet().files()["tables/table_4_2.tex"].decode()
    body = text[text.index("\\toprule") : text.index("\\bottomrule")]
    assert {line.count("&") for line in body.splitlines() if line.endswith("\\\\")} == {4}
    assert "llrrr" in text
    assert r"75 $\pm$ 35.36" in text
    assert r"\textbf{WARNING: N0 has 2 errors" in text
    assert not set(text) & set("±Δ†")


def test_tex_escapes():
    assert tex("a_b & 5 % ± ΔTA") == r"a\_b \& 5 \% $\pm$ $\Delta$TA"
