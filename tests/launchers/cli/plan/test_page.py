"""`--page` and `homerec plan page`: what is written, what is rejected."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from embeddings.planner.plans.plan_file import load_plan
from launchers.cli.main import main
from pipeline.planning.page.numbers import milliseconds

TABLES = """
tables:
  - {name: user, rows: 500000, dim: 128}
  - {name: item, rows: 20000, dim: 64, pooling_factor: 20}
"""
CLUSTER = ["--batch-size", "64", "--rounds", "20", "--cluster"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tables.yaml").write_text(TABLES, encoding="utf-8")
    Path("other.yaml").write_text(TABLES.replace("user", "buyer"), encoding="utf-8")
    return tmp_path


def content_of(page: str) -> str:
    """What stands below the title."""
    html = Path(page).read_text("utf-8")
    return html[html.index("<nav") : html.index("</main>")]


def tables_of(page: str) -> list[str]:
    return re.findall(r"class=opens aria-expanded=false>(.*?)</button>", content_of(page))


def test_a_search_and_its_file_give_one_page(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "tables.yaml", *CLUSTER, "h100-2x1", "--out", "a.json", "--page", "a.html"]
    assert main(words) == 0
    assert "page written to a.html" in " ".join(capsys.readouterr()).replace("\n", " ")
    assert main(["plan", "page", "a.json", "--out", "b.html"]) == 0
    assert content_of("a.html") == content_of("b.html")
    assert f"<dd>{milliseconds(load_plan(Path('a.json')).time_ms)} (rank" in content_of("a.html")
    assert main(["plan", "page", "a.json", "--options", "1", "--out", "b.html"]) == 0
    assert content_of("b.html").count("<table class=options>") == 1


def test_json_alone_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "tables.yaml", *CLUSTER, "h100-2x1", "--json", "--page", "a.html"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert sorted(tables_of("a.html")) == sorted(
        placed["table"]["name"] for placed in printed["tables"]
    )


def test_two_plans_and_a_sweep_are_on_one_page(folder: Path) -> None:
    for cluster, out in (("h100-2x1", "a.json"), ("h100-2x2", "b.json")):
        assert main(["plan", "tables.yaml", *CLUSTER, cluster, "--out", out]) == 0
    words = ["plan", "sweep", "tables.yaml", *CLUSTER, "h100-2x1", "--vary", "world_size=2,4"]
    assert main([*words, "--out", "s.json", "--page", "s.html"]) == 0
    assert main(["plan", "page", "a.json", "b.json", "--sweep", "s.json", "--out", "p.html"]) == 0
    both, alone = content_of("p.html"), content_of("s.html")
    assert "<th scope=col>a.json</th><th scope=col>b.json</th>" in both
    assert "tables that move" in both
    assert "2 combinations of inputs" in both
    assert "<section id=ranks>" not in alone
    sweep = re.search("<section id=sweep>.*?</section>", alone, re.DOTALL)
    assert sweep is not None
    assert sweep[0] in both


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["page", "--out", "p.html"], "nothing to show; give a plan file or --sweep FILE"),
        (["page", "no.json", "--out", "p.html"], "no.json: cannot be read"),
        (["page", "--sweep", "a.json", "--out", "p.html"], "a.json: is no sweep"),
        (["page", "a.json", "--out", "no/p.html"], "no folder no; create it"),
        (["page", "a.json", "a.json", "a.json", "--out", "p.html"], "third plan"),
        (["page", "a.json", "o.json", "--out", "p.html"], "buyer"),
        (["tables.yaml", *CLUSTER, "h100-2x1", "--page", "no/p.html"], "give another with --page"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, out in (("tables", "a.json"), ("other", "o.json")):
        assert main(["plan", f"{source}.yaml", *CLUSTER, "h100-2x1", "--out", out]) == 0
    capsys.readouterr()
    assert main(["plan", *words]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "homerec: error" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert not list(folder.glob("**/p.html"))
