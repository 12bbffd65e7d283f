"""`homerec plan measure` and `calibrate`, on ranks started by the command itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embeddings.planner.inputs.cluster import Cluster, load_cluster
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.fixed_plan import FixedTable, fixed_plan
from launchers.cli.main import main

TABLE = ListedTable(name="a", rows=500, dim=16, pooling_factor=4)


def write_plan(path: Path, cluster: Cluster, kind: str = "row_wise") -> Path:
    ranks = tuple(range(cluster.ranks)) if kind == "row_wise" else (0,)
    given = FixedTable(table=TABLE, sharding_type=kind, width=16, ranks=ranks)
    path.write_text(fixed_plan([given], cluster, 32).to_json(), encoding="utf-8")
    return path


def test_predicted_stands_beside_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = load_cluster("cpu-2x1").model_copy(update={"costs": None})
    plans = [
        write_plan(tmp_path / f"{kind}.json", cluster, kind) for kind in ("row_wise", "table_wise")
    ]
    own, out = tmp_path / "own.yaml", tmp_path / "out.json"
    own.write_text("{preset: cpu, ddr_bw: 1.7, costs: null}", encoding="utf-8")
    words = ["plan", "measure", *map(str, plans), "--rounds", "1", "--repeats", "2"]
    assert main([*words, "--cluster", str(own), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    for words_shown in ("measured on ", "2 ranks, 2 per host", "backward exchange", "ids' exchange",
                        "whole steps: "):  # fmt: skip
        assert words_shown in shown
    row_wise, table_wise = json.loads(out.read_text(encoding="utf-8"))["plans"]
    assert row_wise["plan"] == str(plans[0])
    for rank in (0, 1):
        assert row_wise["predicted"]["ms"][rank]["fwd_compute"] > 0
        assert row_wise["measured"]["ms"][rank]["fwd_compute"] > 0
    assert table_wise["predicted"]["ms"][1]["fwd_compute"] == 0
    assert [rank["weights"] for rank in table_wise["measured"]["bytes"]] == [500 * 16 * 4, 0]
    # A tenth of the memory's bandwidth in the cluster given.
    stock = json.loads(plans[1].read_text(encoding="utf-8"))["ranks"][0]["ms"]["fwd_compute"]
    assert table_wise["predicted"]["ms"][0]["fwd_compute"] == pytest.approx(10 * stock)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["measure", "none.json"], "none.json: cannot be read"),
        (["measure", "two.json", "four.json"], "four.json: devices_per_host is 4, but 2 in two"),
        (["measure", "two.json", "--cluster", "cpu-4x1"], "devices_per_host: 4 in the cluster and"),
        (["measure", "cuda.json"], "device: cuda in the cluster, cpu on the ranks here"),
        (["measure", "hosts.json"], "cluster: 2 hosts; start its ranks on them: torchrun"),
        (["measure", "two.json", "--out", "no/a.json"], "no folder no; create it"),
        (["calibrate", "--cluster", "cpu-2x1", "--out", "no/a.yaml"], "no folder no; create it"),
        (["calibrate", "--cluster", "cpu-2x1", "--out", "a.json"], "a.json: a cluster file must"),
        (["calibrate", "--cluster", "cpu-1x1", "--out", "a.yaml"], "one rank exchanges nothing"),
        (["calibrate", "--cluster", "cup", "--out", "a.yaml"], "no preset 'cup'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, cluster in (("two", "cpu-2x1"), ("four", "cpu-4x1"), ("cuda", "h100-2x1"),
                          ("hosts", "h100-1x2")):  # fmt: skip
        if f"{name}.json" in words:
            write_plan(Path(f"{name}.json"), load_cluster(cluster))
    assert main(["plan", *words]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "homerec: error" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert not Path("a.yaml").exists()


@pytest.mark.slow
def test_a_calibrated_cluster_is_planned_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tables, plan = (tmp_path / name for name in ("own.yaml", "tables.yaml", "plan.json"))
    words = ["plan", "calibrate", "--cluster", "cpu-2x1", "--out", str(out)]
    if main([*words, "--batch-size", "1024", "--rounds", "2", "--repeats", "3"]) != 0:
        # Other work on the machine: then nothing is written, and the reason given.
        assert "calibration: " in capsys.readouterr().err
        assert not out.exists()
        return
    assert "error (root mean square)" in capsys.readouterr().out
    cluster = load_cluster(str(out))
    assert cluster.costs is not None
    assert "cores of" in cluster.source
    assert "plan calibrate" in cluster.source
    # Main memory of a small machine at least, of a large one at most; the same of loopback.
    assert 0.1 < cluster.ddr_bw < 1000
    assert 0.01 < cluster.intra_bw < 100
    tables.write_text("tables: [{name: a, rows: 1000, dim: 16}]", encoding="utf-8")
    find = ["plan", str(tables), "--cluster", str(out), "--batch-size", "64", "--out", str(plan)]
    assert main(find) == 0
    assert main(["plan", "measure", str(plan), "--rounds", "1", "--repeats", "1"]) == 0
