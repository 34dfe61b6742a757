"""A small report with everything a page must cope with."""

import io

from matplotlib.figure import Figure as Drawing

from experiments.report.page import Chapter, Document, Item

# In ascending order; what is no number comes last in the order of its rows.
NUMBERS = [
    "−5",
    "-0.029 ± 0.066",
    "1.8e-05 [1.2e-05, 2.5e-05]",
    "<0.001",
    "0.001",
    "0.02 ✓",
    "2nd",
    "3 of 12",
    "17.93 %",
    "[40, 90]",
    "100",
    ">100",
    "1,500",
    "54,000 ± 20",
    "1.2e+06",
    "never",
]
ABSENT = ["missing †", "none corrected ✗", ""]
SHUFFLED = [5, 14, 2, 16, 9, 0, 11, 7, 15, 3, 18, 12, 1, 10, 6, 13, 4, 17, 8]  # places in NUMBERS + ABSENT
LABELS = [f"sample {place}" for place in range(len(SHUFFLED))]


def png(text, width=3.0):
    drawing = Drawing(figsize=(width, 2.0))
    axes = drawing.subplots()
    axes.plot([1, 3, 2], color="#0072B2")
    axes.set_title(text)
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()


def numbers_table():
    every = NUMBERS + ABSENT
    lines = [f"| {LABELS[place]} | {every[place]} | {chr(97 + place)} |" for place in SHUFFLED]
    return "\n".join(["| label | number | letter |", "| --- | ---: | --- |", *lines, ""])


def wide_table():
    header = "".join(f" column {place} |" for place in range(14))
    cells = "".join(f" {place}.25 ± 0.125 |" for place in range(14))
    rule = " --- |" + " ---: |" * 13
    return f"**Table 1.** A caption. {'It is long. ' * 160}\n\n|{header}\n|{rule}\n|{cells}\n|{cells}\n"


CLAIMS = """# Claims

The table, and [the numbers](../tables/numbers.md).

| id | verdict |
| --- | --- |
| [a](#detail-a) | reproduced |
| b | **not reproduced** |
| c | a cell about what is not reproduced |

<details>
<summary>The first</summary>

## Detail a

![A card](../figures/card.png)

| metric | whose | value |
| --- | --- | ---: |
| POC | ours | 3 |
|  | thesis | 1 |
| POPA | ours | 2 ✓ |

</details>

```
# no heading
```
"""

FILES = {
    "report/claims.md": CLAIMS.encode(),
    "tables/numbers.md": numbers_table().encode(),
    "tables/wide.md": wide_table().encode(),
    "tables/table_1.md": b"**WARNING: look out.**\n\n| a | b |\n| --- | ---: |\n| x | 1 |\n| x < y & z | 2 |\n",
    "figures/card.png": png("card"),
    "figures/figure_1.png": png("one", 7.0),
    "figures/wide.png": png("wide", 7.0),
}

DOCUMENT = Document(
    title="A report & its page",
    lead="Two of three. See [table 1](../tables/table_1.md).",
    chapters=(
        Chapter("Claims", "What was claimed.", (Item("report/claims.md"),)),
        Chapter(
            "Tables",
            items=(
                Item("tables/numbers.md", "Numbers"),
                Item("tables/wide.md", "A wide table"),
                Item("tables/table_1.md", "Table 1"),
            ),
        ),
        Chapter(
            "Figures",
            items=(
                Item("figures/figure_1.png", "Figure 1", "A line", "Caption of *one*."),
                Item("figures/wide.png", alt="Another line"),
                Item("report/absent.md", "Absent"),
            ),
        ),
    ),
)
