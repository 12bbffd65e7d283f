"""`homerec plan` for several clusters: one that fails keeps no other from its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launchers.cli.main import main
from pipeline.io.errors import UserError

FAST = ["--batch-size", "256", "--rounds", "20"]


@pytest.fixture
def tables(tmp_path: Path) -> str:
    path = tmp_path / "tables.yaml"
    path.write_text("tables: [{name: user, rows: 500000000, dim: 128}]\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def small(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text("preset: h100\nhbm_gb: 8\nddr_gb: 1\n", encoding="utf-8")
    return str(path)


def test_each_cluster_has_its_line(
    tables: str, small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--cluster",
        "h100-8x2",
        "--cluster",
        small,
        "--cluster",
        "cray",
        "--cluster",
        "a100-40-8x2",
    ]
    assert main(["plan", tables, *words, *FAST, "--json"]) == 0
    first, second, third, fourth = json.loads(capsys.readouterr().out)["clusters"]
    assert (first["cluster"], first["ranks"]) == ("h100-8x2", 16)
    assert first["lower_bound_ms"] <= first["time_ms"] < fourth["time_ms"]
    assert second["cluster"] == small
    assert second["reason"].startswith("no sharding plan: 1 of 1 tables do not fit on 8 ranks")
    assert "no preset 'cray'" in third["reason"]
    assert main(["plan", tables, *words, *FAST]) == 0
    shown = capsys.readouterr().out
    assert "h100-8x2" in shown
    assert "cray: cluster: no preset 'cray'" in shown


def test_no_plan_at_all_is_an_error(tables: str, small: str) -> None:
    with pytest.raises(UserError, match="no plan for any of 2 clusters"):
        main(["plan", tables, "--cluster", small, "--cluster", "cray", *FAST, "--debug"])


def test_one_file_is_for_one_plan(tables: str, tmp_path: Path) -> None:
    two = ["--cluster", "h100-8x2", "--cluster", "h100-8x1", *FAST]
    with pytest.raises(UserError, match=r"--out .* is of one plan; give one --cluster"):
        main(["plan", tables, *two, "--out", str(tmp_path / "plan.json"), "--debug"])
    with pytest.raises(UserError, match="--cluster h100-8x1: a second one"):
        main(["plan", "sweep", tables, *two, "--vary", "hbm_gb=40", "--debug"])
