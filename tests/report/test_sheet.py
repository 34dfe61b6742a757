import numpy as np

from experiments.report.sheet import Block, Sheet, bracketed, percent


def sheet(**changes):
    values = {
        "name": "name",
        "heading": "Heading",
        "caption": ["A caption of 5 %."],
        "warnings": ["Look out."],
        "blocks": [Block("First.", ("a", "b", "c"), [["x", "y", "1"]])],
        "columns": ("a", "b"),
        "records": [("x", 1 / 3), ("y", None), ("z", float("nan")), ("i", 7), ("n", np.float64(0.5))],
    }
    return Sheet(**{**values, **changes})


def test_numbers_are_whole_and_gaps_are_empty():
    text = sheet().files()["tables/name.csv"].decode()
    assert text == "a,b\nx,0.3333333333\ny,\nz,\ni,7\nn,0.5\n"


def test_one_block_has_no_title_and_two_have():
    one = sheet().files()
    assert tuple(one) == ("tables/name.csv", "tables/name.md", "tables/name.tex")
    assert one["tables/name.md"].decode() == (
        "**Heading.** A caption of 5 %.\n\n**Look out.**\n\n| a | b | c |\n| --- | --- | ---: |\n| x | y | 1 |\n"
    )
    assert one["tables/name.tex"].decode().count(r"\begin{table*}") == 1
    block = Block("Second.", ("a", "b", "c"), [["z", "y", "2"]])
    two = sheet(blocks=[*sheet().blocks, block]).files()
    assert "\nSecond.\n\n| a |" in two["tables/name.md"].decode()
    tex = two["tables/name.tex"].decode()
    assert r"\caption{Heading, continued. Second.}" in tex
    assert r"\caption{\textbf{Look out.} A caption of 5 \%. First.}" in tex


def test_shares_and_brackets():
    assert percent(0.29) == "29"  # 100 * 0.29 is 28.999999999999996
    assert percent(0.3759) == "37.59"
    assert bracketed("1", "0", "2") == "1 [0, 2]"
