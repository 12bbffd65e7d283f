"""`--page` and `homerec plan page`: what is written, what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from embeddings.planner.plans.plan_file import load_plan
from launchers.cli.main import main

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


def data_of(page: str) -> Any:
    html = Path(page).read_text("utf-8")
    found = re.search(r'<script type="application/json" id=data>(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_a_search_and_its_file_give_one_page(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "tables.yaml", *CLUSTER, "h100-2x1", "--out", "a.json", "--page", "a.html"]
    assert main(words) == 0
    assert "page written to a.html" in " ".join(capsys.readouterr()).replace("\n", " ")
    assert main(["plan", "page", "a.json", "--out", "b.html"]) == 0
    assert data_of("a.html") == data_of("b.html")
    assert data_of("a.html")["plans"][0]["time_ms"] == pytest.approx(
        load_plan(Path("a.json")).time_ms
    )
    assert main(["plan", "page", "a.json", "--options", "1", "--out", "b.html"]) == 0
    assert len(data_of("b.html")["plans"][0]["options"]) == 1


def test_json_alone_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "tables.yaml", *CLUSTER, "h100-2x1", "--json", "--page", "a.html"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert data_of("a.html")["plans"][0]["tables"]["name"] == [
        placed["table"]["name"] for placed in printed["tables"]
    ]


def test_two_plans_and_a_sweep_are_on_one_page(folder: Path) -> None:
    for cluster, out in (("h100-2x1", "a.json"), ("h100-2x2", "b.json")):
        assert main(["plan", "tables.yaml", *CLUSTER, cluster, "--out", out]) == 0
    words = ["plan", "sweep", "tables.yaml", *CLUSTER, "h100-2x1", "--vary", "world_size=2,4"]
    assert main([*words, "--out", "s.json", "--page", "s.html"]) == 0
    assert main(["plan", "page", "a.json", "b.json", "--sweep", "s.json", "--out", "p.html"]) == 0
    data = data_of("p.html")
    assert [plan["name"] for plan in data["plans"]] == ["a.json", "b.json"]
    assert data["moves"]["tables"]
    assert len(data["sweep"]["points"]) == 2
    alone = data_of("s.html")
    assert alone["plans"] == []
    assert alone["sweep"] == data["sweep"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["page", "--out", "p.html"], "nothing to show; name a plan's file, or --sweep FILE"),
        (["page", "no.json", "--out", "p.html"], "no.json: cannot be read"),
        (["page", "--sweep", "a.json", "--out", "p.html"], "a.json: is no sweep"),
        (["page", "a.json", "--out", "no/p.html"], "no folder no; make it"),
        (["page", "a.json", "a.json", "a.json", "--out", "p.html"], "a third plan"),
        (["page", "a.json", "o.json", "--out", "p.html"], "buyer"),
        (["tables.yaml", *CLUSTER, "h100-2x1", "--page", "no/p.html"], "name another with --page"),
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
