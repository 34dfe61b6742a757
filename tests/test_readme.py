"""The README's words are true: its table comes from the committed records, its example method works."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from hydra import initialize_config_dir
from omegaconf import OmegaConf

import bgd.methods
from experiments.config.build import build
from experiments.config.groups import choices_in
from experiments.config.overrides import CONF, composed, jobs_of
from experiments.config.spec import RunSpec
from experiments.jobs.execute import execute
from experiments.jobs.launchers import PRESETS, taken_from
from experiments.jobs.workbench import Place, Workbenches
from experiments.records.archive import load
from experiments.records.members import reference_folder
from experiments.records.schema import CORRECTED
from experiments.records.store import Store
from experiments.report.overview import HEADLINE, Headline
from experiments.thesis.report import REPORT

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = {path: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}
EXPERIMENTS = DOCS[ROOT / "docs" / "experiments.md"]
RESULTS = DOCS[ROOT / "docs" / "results.md"]


@pytest.mark.slow
def test_the_result_table_is_that_of_the_committed_records():
    table = RESULTS.split("<!-- results:begin -->")[1].split("<!-- results:end -->")[0]
    (part,) = (part for part in REPORT.parts if isinstance(part, Headline))
    runs = load(reference_folder("laptop")).of(*part.presets)
    assert table.strip() == part.files(runs)[HEADLINE].decode().strip()


def test_the_verdicts_are_counted_as_in_the_report():
    (counted,) = re.findall(r"^\d+ claims: .*$", (ROOT / "outputs/report/claims.md").read_text(), re.M)
    assert f"[{counted.rstrip('.')}](../outputs/report/claims.md)" in RESULTS


def test_the_two_reports_are_short():
    pages = [(ROOT / "outputs" / "report" / name).read_text() for name in ("report.md", "beyond.md")]
    assert sum(len(page.split()) for page in pages) <= 12_000


def test_the_first_table_is_that_of_the_aims():
    """The README's numbers are those of outputs/tables/aims.md, cell by cell."""
    aims = (ROOT / "outputs/tables/aims.md").read_text().split("\nMLP.\n")[1]
    rows = [
        [cell.strip(" ✓✗") for cell in line.split("|")[1:-1]] for line in aims.splitlines() if line[:1] == "|"
    ]
    found = {row[0]: (row[1], row[2], row[3], row[5], row[7], row[8]) for row in rows}
    table = README.split("<!-- table:begin -->")[1].split("<!-- table:end -->")[0].strip().splitlines()[2:]
    assert 5 <= len(table) <= 8
    for line in table:
        name, *cells = [cell.strip() for cell in line.split("|")[1:-1]]
        assert tuple(cells) == found[name], name


def test_the_ten_lines_run_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    names: dict[str, object] = {}
    exec(code.replace("patch.revert_(model)", "said = int(model(x).argmax())\npatch.revert_(model)"), names)
    assert names["said"] == names["wanted"]
    assert int(names["model"](names["x"]).argmax()) != names["wanted"]
    assert "parameters: " in capsys.readouterr().out
    assert (tmp_path / "fix.safetensors").stat().st_size < 2000


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_file_and_target_they_name_exists(path):
    makefile, text = (ROOT / "Makefile").read_text(), DOCS[path]
    for target in set(re.findall(r"`make ([a-z][a-z-]*)", text)):
        assert re.search(rf"^{target}:", makefile, re.M), f"make {target}"
    for link in re.findall(r"\]\(([^)h][^)]*)\)", text):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
            }, link


def test_every_command_in_them_is_one():
    found = re.compile(r"^python (?:-m experiments.run|scripts/held_out.py) ([^#\n]*)", re.M)
    commands = [command for text in DOCS.values() for command in found.findall(text)]
    assert len(commands) > 10
    for command in commands:
        if "one_weight" not in command:  # the reader's own
            words, launcher, _ = taken_from(shlex.split(command))
            assert launcher in (None, *choices_in(PRESETS))
            with initialize_config_dir(str(CONF), version_base="1.3"):
                RunSpec.of(composed(jobs_of(words)[0]))


def test_every_launcher_is_in_the_table_with_the_extra_that_it_needs():
    table = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", EXPERIMENTS, re.M)
    assert sorted(name for name, _ in table if name in choices_in(PRESETS)) == choices_in(PRESETS)
    extras = re.findall(r"^(\w+) = \[$", (ROOT / "pyproject.toml").read_text(), re.M)
    for name in choices_in(PRESETS):
        target = OmegaConf.load(CONF / PRESETS / f"{name}.yaml")["_target_"]
        assert re.search(r"hydra_(\w+)_launcher", target)[1] in extras


def block(title, language):
    """The code block that follows a file's name."""
    return re.search(rf"`{re.escape(title)}`\n\n```{language}\n(.*?)```", EXPERIMENTS, re.S)[1]


@pytest.fixture
def example(tmp_path, monkeypatch, spec_of):
    """The README's method, as a module and a yaml, in a place of its own."""
    (tmp_path / "one_weight.py").write_text(block("bgd/methods/one_weight.py", "python"))
    monkeypatch.setattr(bgd.methods, "__path__", [*bgd.methods.__path__, str(tmp_path)])
    config = OmegaConf.create(block("experiments/conf/method/one_weight.yaml", "yaml"))
    spec = spec_of("method=bgd_ii")
    return type(spec)(**{**vars(spec), "method": OmegaConf.to_container(config)})


def test_the_example_method_runs_and_appears_in_a_table(example, tmp_path):
    build(example.method, "method")
    execute(example, Workbenches(Place(tmp_path, tmp_path, "cpu", 1)))
    run = Store(tmp_path / "runs").read(example.run_id)
    assert {row.outcome for row in run.rows} == {CORRECTED}
    assert {row.l0 for row in run.rows} == {1}
    assert "one_weight" in Headline().files([run])[HEADLINE].decode()
