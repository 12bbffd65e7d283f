"""`homerec plan sweep`: each point is the plan that `plan` finds; what does not fit is a point."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launchers.cli.main import main
from launchers.cli.plan.sweep import parse_axes

TABLES = """
tables:
  - {name: user, rows: 500000, dim: 128}
  - {name: item, rows: 20000, dim: 64, pooling_factor: 20}
"""


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    path = tmp_path / "tables.yaml"
    path.write_text(TABLES, encoding="utf-8")
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
    assert found == json.loads(out.read_text(encoding="utf-8"))
    assert len(found["points"]) == 8
    rules = tmp_path / "rules.yaml"
    for point in found["points"]:
        rules.write_text(
            f"rules: [{{tables: '*', types: [{point['types'].replace('+', ', ')}]}}]",
            encoding="utf-8",
        )
        cluster = f"h100-2x{int(point['world_size']) // 2}"
        words = [str(tables), "--cluster", cluster, "--batch-size", point["batch_size"]]
        plan = printed([*words, "--constraints", str(rules)], capsys)
        assert point["time_ms"] == plan["time_ms"]
        used = [rank["bytes"]["hbm"] for rank in plan["ranks"]]
        assert point["memory"]["hbm"] == [min(used), max(used)]
        parts = point["ms"]
        total = sum(ms for part, ms in parts.items() if part != "input_dist_comms")
        assert total == pytest.approx(point["time_ms"])


@pytest.mark.parametrize(
    ("axis", "options"),
    [
        ("qcomm=bf16,fp16+fp8", (["--qcomm", "bf16"], ["--qcomm", "fp16,fp8"])),
        ("pipeline=none,prefetch", ([], ["--pipeline", "prefetch"])),
        (
            "reserve=fixed_absolute=8,fixed_percentage=0.5",
            (["--reserve", "fixed_absolute=8"], ["--reserve", "fixed_percentage=0.5"]),
        ),
        ("replica_groups=1,2", ([], ["--replica-groups", "2"])),
        ("hbm_gb=40,80", (["--cluster", "small.yaml"], [])),
    ],
)
def test_a_point_is_the_plan_with_that_option(
    axis: str,
    options: tuple[list[str], list[str]],
    tables: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tables.parent)
    Path("small.yaml").write_text(
        "{preset: h100, devices_per_host: 2, hosts: 2, hbm_gb: 40}", encoding="utf-8"
    )
    words = [str(tables), "--batch-size", "64"]
    cluster = ["--cluster", "h100-2x2"]
    points = printed(["sweep", *words, *cluster, "--vary", axis], capsys)["points"]
    plans = [
        printed([*words, *given, *([] if "--cluster" in given else cluster)], capsys)
        for given in options
    ]
    assert len(points) == 2
    for point, plan in zip(points, plans, strict=True):
        assert point["time_ms"] == plan["time_ms"]
        assert point["room"]["hbm"] == plan["ranks"][0]["room"]["hbm"]
        used = [rank["bytes"]["hbm"] for rank in plan["ranks"]]
        assert point["memory"]["hbm"] == [min(used), max(used)]
    # The input matters at all.
    first, second = (
        [plan["time_ms"], plan["ranks"][0]["room"], plan["ranks"][0]["bytes"]] for plan in plans
    )
    assert first != second


def test_a_point_is_the_plan_of_other_tables(
    tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--cluster", "h100-2x1", "--batch-size", "64"]
    axes = ["--vary", "dim=32,256", "--vary", "dtype=fp32,bf16"]
    points = printed(["sweep", str(tables), *words, *axes], capsys)["points"]
    assert len(points) == 4
    for point in points:
        kind = f"dim: {point['dim']}, dtype: {point['dtype']}"
        tables.write_text(
            TABLES.replace("dim: 128", kind).replace("dim: 64", kind), encoding="utf-8"
        )
        assert point["time_ms"] == printed([str(tables), *words], capsys)["time_ms"]
    assert len({point["time_ms"] for point in points}) == 4


def test_what_does_not_fit_is_a_point(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", str(tables), "--cluster", "h100-1x1", "--batch-size", "64"]
    axes = ["--vary", "ddr_gb=0.001", "--vary", "hbm_gb=0.05,80"]
    small, large = printed([*words, *axes], capsys)["points"]
    assert not small["feasible"]
    assert small["reason"].startswith("no sharding plan: ")
    assert small["missing"] or small["reserved"]
    assert large["feasible"]
    assert main(["plan", *words, *axes]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert any(line.split()[-3:] == ["does", "not", "fit"] for line in shown)
    (fits,) = (line.split() for line in shown if line.split()[:2] == ["0.001", "80"])
    gap = large["time_ms"] / large["lower_bound_ms"] - 1
    figures = f"{large['time_ms']:.4g}", f"{large['lower_bound_ms']:.4g}", f"{gap:.1%}"
    assert tuple(fits[2:5]) == figures


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["wrold_size=2"], "unknown input 'wrold_size'; did you mean 'world_size'?"),
        (["world_size"], "no values; give world_size=A,B,.."),
        (["world_size=2,"], "no values; give world_size=A,B,.."),
        (["hbm_gb=1", "hbm_gb=2"], "hbm_gb is given twice"),
        (["world_size=2,3"], "3 is not a multiple of 2, the devices per host"),
        (["batch_size=many"], "'many' is not a positive integer"),
        (["hbm_gb=much"], "hbm_gb: 'much'"),
        (["dim=10"], "dim"),
        (["dtype=int3"], "dtype: 'int3'"),
        (["qcomm=fp4"], "--qcomm: 'fp4'"),
        (["pipeline=fast"], "--pipeline: 'fast'"),
        (["reserve=heuristic"], "--reserve heuristic: amount missing"),
        (["replica_groups=3"], "3 groups do not split 1 hosts of 2 devices"),
        (["serve=95"], "95.0 is not between 0 and 1"),
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
