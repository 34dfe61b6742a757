import base64
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from experiments.report import verdicts
from experiments.report.claims import verdicts as claim_verdicts
from experiments.report.claims.verdicts import ABSENT, FAILS, HOLDS
from experiments.report.page import THUMBNAILS, Chapter, Document, Item, compose
from experiments.report.page.cells import badges, dress
from experiments.report.page.markdown import demote, has_title, relink
from experiments.report.page.rendering import Renderer, inline
from experiments.thesis.report import REPORT
from tests.report.page_sample import DOCUMENT, FILES


@pytest.fixture(scope="module")
def report():
    return {name: content.decode() for name, content in compose(DOCUMENT, FILES).items()}


@pytest.fixture(scope="module")
def page(report):
    return report["report/index.html"]


def shortened(page):
    return re.sub(r"data:image/\w+;base64,[^\"]+", "data", page)


def test_both_forms_and_the_same_bytes(report):
    assert list(report) == ["report/index.html", "report/report.md"]
    again = compose(DOCUMENT, dict(reversed(FILES.items())))
    assert {name: content.decode() for name, content in again.items()} == report


def test_markdown_holds_every_item_in_order(report):
    text = report["report/report.md"]
    places = [text.index(f'<a id="{item.anchor}"></a>') for item in DOCUMENT.items]
    assert places == sorted(places)
    assert text.startswith("# A report & its page\n\nTwo of three.")
    assert "## Claims\n\nWhat was claimed.\n" in text
    assert "### Figure 1\n\n![A line](../figures/figure_1.png)\n\nCaption of *one*.\n" in text
    assert "### Absent\n\nmissing: report/absent.md\n" in text
    assert "\n# Claims" not in text  # the chapter has said it
    assert "### Detail a" in text


def test_every_link_of_the_markdown_leads_somewhere(report):
    text = report["report/report.md"]
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target in ("#detail-a",)
        else:
            assert target.removeprefix("../") in FILES


def test_page_takes_nothing_from_outside(page):
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page
    assert "http" not in shortened(page).replace("http-equiv", "")


def test_every_anchor_stands_once_and_every_link_finds_it(page):
    anchors = re.findall(r'\bid="([^"]+)"', shortened(page))
    assert len(anchors) == len(set(anchors))
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= set(anchors)
    assert {"claims", "table_numbers", "table_1", "figure_1", "figure_wide"} <= set(anchors)


def test_links_to_files_of_the_build_stay_in_the_page(page):
    assert '<a href="#table_numbers">the numbers</a>' in page
    assert '<a href="#table_1">table 1</a>' in page


def test_contents_list_chapters_and_titles(page):
    contents = page[page.index('<nav id="contents"') : page.index("</nav>")]
    words = re.findall(r">([^<>\n]+)</a>", contents)
    assert words == [
        *("Claims", "Detail a"),
        *("Tables", "Numbers", "A wide table", "Table 1"),
        *("Figures", "Figure 1", "Absent"),
    ]


def test_pictures_stand_in_the_page_in_their_shape(page):
    found = re.findall(r'<img src="data:image/\w+;base64,([^"]+)" alt="([^"]*)" width="(\d+)"', page)
    assert [alt for _, alt, _ in found] == ["A card", "A line", "Another line"]
    images = [Image.open(io.BytesIO(base64.b64decode(data))) for data, _, _ in found]
    assert [image.size for image in images] == [(600, 400), (1400, 400), (1400, 400)]
    assert [int(width) for *_, width in found] == [429, 1000, 1000]


def test_transparent_paper_becomes_white():
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.putpixel((5, 5), (200, 30, 30, 255))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=0)
    content = base64.b64decode(inline(buffer.getvalue())[0].partition(",")[2])
    after = Image.open(io.BytesIO(content)).convert("RGB")
    assert after.getpixel((0, 0)) == (255, 255, 255)
    assert after.getpixel((5, 5))[0] > 150


def test_a_palette_is_kept_and_a_picture_never_grows():
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    image = Image.fromarray(noise).convert("P")
    image.putpalette([value for value in range(256) for _ in range(3)])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    content = base64.b64decode(inline(buffer.getvalue())[0].partition(",")[2])
    assert len(content) <= len(buffer.getvalue())
    assert (np.asarray(Image.open(io.BytesIO(content)).convert("L")) == noise).all()


def test_absent_files_and_pictures_say_so(page):
    assert '<p class="missing">missing: report/absent.md</p>' in page
    document = Document("t", chapters=(Chapter("c", "![x](../figures/no.png)"),))
    text = compose(document, {})["report/index.html"].decode()
    assert '<span class="missing">missing: figures/no.png</span>' in text
    figure = Document("t", chapters=(Chapter("c", items=(Item("figures/no.png", alt="x"),)),))
    assert b"missing: figures/no.png" in compose(figure, {})["report/report.md"]


def test_warnings_are_loud_and_text_is_escaped(page):
    assert '<p class="warning"><strong>WARNING: look out.</strong></p>' in page
    assert "x &lt; y &amp; z" in page
    assert "<title>A report &amp; its page</title>" in page


def test_a_picture_from_outside_is_refused():
    document = Document("t", chapters=(Chapter("c", "![x](https://example.org/x.png)"),))
    with pytest.raises(ValueError, match="outside the build"):
        compose(document, {})


def test_one_anchor_for_one_thing():
    with pytest.raises(ValueError, match="figure_1"):
        Document("t", chapters=(Chapter("c", items=(Item("figures/figure_1.png", alt="x"),) * 2),))
    with pytest.raises(ValueError, match="more than once"):
        Document("t", chapters=(Chapter("One"), Chapter("one")))
    assert Item("tables/orders.md").anchor != Item("figures/orders.png").anchor
    renderer = Renderer({}, "report", {"report/same.md": "same"})
    _, headings = renderer.render("# Same\n\n# Same\n\n# ?\n", "x")
    assert [heading.anchor for heading in headings] == ["same-2", "same-3", "section"]


LOOKS = {"reproduced": "good", "not reproduced": "bad"}


def cells(text):
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(text)
    dress(tokens, LOOKS)
    return parser.renderer.render(tokens, parser.options, {})


def test_cells_are_dressed():
    html = cells(
        "| a | b |\n| --- | ---: |\n| POC | reproduced |\n|  | Not Reproduced |\n| x | 1 ✓ |\n|  | 2 ✗ |\n"
        f"| {'long ' * 10} | not reproduced here |\n"
    )
    assert '<span class="badge good">reproduced</span>' in html
    assert '<span class="badge bad">Not Reproduced</span>' in html
    assert html.count("badge") == 2  # a sentence is no verdict
    assert '1 <span class="mark good">✓</span>' in html
    assert '2 <span class="mark bad">✗</span>' in html
    assert re.findall('data-ditto="([^"]+)"', html) == ["POC", "x"]
    assert html.count('class="num"') == 6
    assert html.count('class="long"') == 1
    assert "style=" not in html


def test_labels_do_not_reach_into_another_table():
    html = cells("| a | b |\n| --- | --- |\n| x | 1 |\n\n| a | b |\n| --- | --- |\n|  | 1 |\n")
    assert "ditto" not in html


def test_every_verdict_of_the_report_has_a_look():
    looks = REPORT.documents[0].badges
    assert all(word == word.casefold() for word in looks)
    assert {
        *verdicts.VERDICTS,
        *claim_verdicts.VERDICTS,
        claim_verdicts.IN_PART,
        HOLDS,
        FAILS,
        ABSENT,
    } == set(looks)


def test_bold_verdicts_in_a_summary_are_badges():
    assert (
        badges("<b>fails</b> <b>x</b>", {"fails": "bad"}) == '<span class="badge bad">fails</span> <b>x</b>'
    )


def test_headings_are_demoted_outside_code():
    text = "# A\n\ntext #b\n\n### C\n\n```sh\n# comment\n~~~\n```\n\n###### D\n#\n"
    assert demote(text, 3) == "### A\n\ntext #b\n\n##### C\n\n```sh\n# comment\n~~~\n```\n\n###### D\n###\n"
    assert demote("## A\n#### B", 3) == "### A\n##### B"
    assert demote("#5 is no heading\n", 3) == "#5 is no heading\n"


def test_titles_are_recognised():
    assert has_title("\n# The Claims \n\ntext", "the claims")
    assert not has_title("text\n# The claims", "the claims")
    assert not has_title("# The claims again", "the claims")
    assert not has_title("", "")


@pytest.mark.parametrize(
    ("target", "moved"),
    [
        ("x.csv", "../tables/x.csv"),
        ("../figures/y.png", "../figures/y.png"),
        ("../report/claims.md#c", "claims.md#c"),
        ("#here", "#here"),
        ("https://example.org/a", "https://example.org/a"),
        ("data:,", "data:,"),
    ],
)
def test_links_hold_from_the_report(target, moved):
    assert relink(f"see [a]({target}) and (b)", "tables", "report") == f"see [a]({moved}) and (b)"
    assert relink(f"![a]({target})", "report", "report") == f"![a]({target})"


def test_links_in_code_are_left_alone():
    assert relink("```\n[a](x)\n```\n[a](x)\n", "tables", "report") == "```\n[a](x)\n```\n[a](../tables/x)\n"


def test_torch_is_not_imported():
    code = "import sys, experiments.report.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_fragment_with_a_title_keeps_its_own_heading():
    document = Document("t", chapters=(Chapter("Claims", items=(Item("report/claims.md", "All"),)),))
    text = compose(document, FILES)["report/report.md"].decode()
    assert "### All\n\n#### Claims\n" in text
    assert "##### Detail a" in text


def test_thumbnails_are_small_and_lead_to_their_figures():
    item = Item("figures/figure_1.png", "Figure 1", "A line")
    document = Document("t", chapters=(Chapter("c", items=(Item(THUMBNAILS), item)),))
    page = compose(document, FILES)["report/index.html"].decode()
    assert '<a href="#figure_1"><img' in page
    assert page.count("data:image/") == 2
    _, width, height = inline(FILES["figures/figure_1.png"], 16)
    assert width <= 16
    assert height >= 1


def test_a_link_to_what_another_document_shows_leads_to_its_page():
    link = Chapter("c", "[there](../tables/far.md), [a part](../tables/far.md#part)")
    other = Document(
        "o", chapters=(Chapter("d", items=(Item("tables/far.md"),)),), page="other.html", text=""
    )
    page = compose(Document("t", chapters=(link,)), {}, others=[other])["report/index.html"].decode()
    assert 'href="other.html#table_far"' in page
    assert 'href="other.html#part"' in page
    assert list(compose(other, {"tables/far.md": b"here"})) == ["report/other.html"]
