"""`homerec plan sweep`: each point is the plan that `plan` finds; what does not fit is a point."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launchers.cli import main
from launchers.plan_sweep import parse_axes

TABLES = """
tables:
  - {name: user, rows: 500000, dim: 128}
  - {name: item, rows: 20000, dim: 64, pooling_factor: 20}
"""


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    path = tmp_path / "tables.yaml"
    path.write_text(TABLES)
    return path


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert main(["plan", *words, "--rounds", "50", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_point_is_the_plan_of_its_inputs(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep.json"
    words = ["sweep", str(tables), "--cluster", "h100-2x1", "--out", str(out)]
    axes = ["--vary", "world_size=2,8", "--vary", "batch_size=64,512"]
    found = printed([*words, *axes, "--vary", "types=row_wise,row_wise+table_wise"], capsys)
    assert found == json.loads(out.read_text())
    assert len(found["points"]) == 8
    rules = tmp_path / "rules.yaml"
    for point in found["points"]:
        rules.write_text(f"rules: [{{tables: '*', types: [{point['types'].replace('+', ', ')}]}}]")
        cluster = f"h100-2x{int(point['world_size']) // 2}"
        words = [str(tables), "--cluster", cluster, "--batch-size", point["batch_size"]]
        plan = printed([*words, "--constraints", str(rules)], capsys)
        assert point["time_ms"] == plan["time_ms"]
        used = [rank["bytes"]["hbm"] for rank in plan["ranks"]]
        assert point["memory"]["hbm"] == [min(used), max(used)]
        parts = point["ms"]
        total = sum(ms for part, ms in parts.items() if part != "input_dist_comms")
        assert total == pytest.approx(point["time_ms"])


def test_what_does_not_fit_is_a_point(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", str(tables), "--cluster", "h100-1x1", "--batch-size", "64"]
    axes = ["--vary", "ddr_gb=0.001", "--vary", "hbm_gb=0.05,80"]
    small, large = printed([*words, *axes], capsys)["points"]
    assert not small["feasible"]
    assert small["reason"].startswith("no sharding plan: ")
    assert large["feasible"]
    assert main(["plan", *words, *axes]) == 0
    assert "does not fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["wrold_size=2"], "unknown input 'wrold_size'; did you mean 'world_size'?"),
        (["world_size"], "no values; give world_size=A,B,.."),
        (["world_size=2,"], "no values; give world_size=A,B,.."),
        (["hbm_gb=1", "hbm_gb=2"], "hbm_gb is given twice"),
        (["world_size=2,3"], "3 ranks are no whole hosts of 2 devices"),
        (["batch_size=many"], "'many' is no whole number above 0"),
        (["hbm_gb=much"], "hbm_gb: 'much'"),
        (["types=rowwise"], "unknown sharding type 'rowwise'"),
    ],
)
def test_a_mistake_is_one_line(
    axes: list[str], message: str, tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "sweep", str(tables), "--cluster", "h100-2x1", "--batch-size", "64"]
    assert main([*words, *(word for axis in axes for word in ("--vary", axis))]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [message in line for line in errors if "homerec: error" in line] == [True]


def test_axes_keep_their_order() -> None:
    assert parse_axes(["types=a+b,c", "hosts=1"]) == {"types": ["a+b", "c"], "hosts": ["1"]}
