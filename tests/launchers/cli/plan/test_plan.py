"""`homerec plan`: what may be planned, what is printed, what is written, what is rejected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embeddings.planner.plans.plan_file import load_plan
from launchers.cli.main import main
from pipeline.config.overrides import resolve
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.data.schema import Schema
from pipeline.io.errors import UserError

TABLES = """
tables:
  - {name: user, rows: 500000, dim: 128}
  - {name: item, rows: 20000, dim: 64, pooling_factor: 20}
  - {name: tag, rows: 50, dim: 16, pooling_factor: 3}
"""


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    path = tmp_path / "tables.yaml"
    path.write_text(TABLES, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    prepare_synthetic(folder, rows=2_000, seed=3)
    return folder


def test_a_table_list_is_planned_and_written(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "a plan.json", tmp_path / "b.json"
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{tables: user, types: [table_wise], ranks: [3]}]", encoding="utf-8")
    words = ["plan", str(tables), "--cluster", "h100-2x2", "--batch-size", "512"]
    assert main([*words, "--constraints", str(rules), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    for part in (
        "3 tables on 4 ranks",
        "lower bound",
        "imbalance",
        "of 68 GiB",
        f"--sharding.plan '{out}'\n",
    ):
        assert part in shown
    file = load_plan(out)
    assert file.find("user").rank_list() == [3]
    assert [table.table.name for table in file.tables] == ["user", "item", "tag"]
    # A warm start without a single round of search is the plan it began from.
    warm = ["--constraints", str(rules), "--warm", str(out), "--rounds", "0", "--json"]
    assert main([*words, *warm, "--out", str(again)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(again.read_text(encoding="utf-8"))
    assert load_plan(again).sharding_plan() == file.sharding_plan()


def test_a_recipe_and_its_run_have_one_plan(prepared: Path, tmp_path: Path) -> None:
    words = ["--cluster", "cpu-2x1", "--seed", "1", "--rounds", "100", "--out"]
    by_recipe, by_run, narrower = (tmp_path / f"{name}.json" for name in "abc")
    fields = ["--data.path", str(prepared), "--embeddings.small_dim", "32"]
    assert main(["plan", "debug", *fields, *words, str(by_recipe)]) == 0
    run = tmp_path / "run"
    run.mkdir()
    Schema.load(prepared).save(run)
    resolve("debug", None, fields).save(run / "config.json")
    assert main(["plan", str(run), *words, str(by_run)]) == 0
    first, second = load_plan(by_recipe), load_plan(by_run)
    assert first.sharding_plan() == second.sharding_plan()
    assert first.batch_size == 128
    assert max(placed.table.dim for placed in first.tables) == 32
    config = str(run / "config.json")
    assert main(["plan", config, "--embeddings.small_dim", "16", *words, str(narrower)]) == 0
    assert max(placed.table.dim for placed in load_plan(narrower).tables) == 16


def test_types_that_a_run_allows_hold(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    words = ["plan", "debug", "--data.path", str(prepared), "--sharding.types", "grid_shard"]
    assert main([*words, "--cluster", "cpu-2x1", "--out", str(out)]) == 0
    assert {placed.sharding_type for placed in load_plan(out).tables} == {"grid_shard"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--batch-size: missing for a table list; give rows per rank"),
        (["--batch-size", "8", "--cluster", "h1000"], "no preset 'h1000'"),
        (["--batch-size", "8", "--train.epochs", "2"], "has no field --train.epochs"),
        (["--batch-size", "8", "--out", "nowhere/plan.json"], "no folder nowhere; create it"),
        (["--batch-size", "8", "--warm", "nowhere.json"], "nowhere.json: cannot be read"),
        (["--batch-size", "8", "--constraints", "no.yaml"], "no.yaml: cannot be read"),
        (["--batch-size", "8", "--cluster", "tiny.yaml"], "no sharding plan: "),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str],
    message: str,
    tables: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(
        "{preset: l4, hosts: 1, hbm_gb: 0.01, ddr_gb: 0.01}", encoding="utf-8"
    )
    cluster = [] if "--cluster" in words else ["--cluster", "h100-2x1"]
    assert main(["plan", str(tables), *cluster, *words]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "homerec: error" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert not list(tmp_path.glob("**/plan.json"))


def test_what_does_not_fit_is_an_answer_for_programs_too(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = tmp_path / "tiny.yaml"
    tiny.write_text("{preset: l4, hosts: 1, hbm_gb: 0.01, ddr_gb: 0.01}", encoding="utf-8")
    words = ["plan", str(tables), "--cluster", str(tiny), "--batch-size", "8", "--json"]
    assert main(words) == 2
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert f"homerec: error: {found['message']}" in said.err
    assert all(row["short"] == row["needs"] - row["room"] > 0 for row in found["missing"])
    assert all(change["time"] > 0 for change in found["relaxations"])
    assert found["missing"] or found["reserved"]
    assert found["nearest"] == min(found["relaxations"], key=lambda change: change["apart"])


def test_a_batch_that_does_not_divide_is_rejected(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "debug", "--data.path", str(prepared), "--cluster", "cpu-3x1"]) == 2
    assert "256 rows do not divide by 3 ranks; give rows per rank" in capsys.readouterr().err


@pytest.fixture
def two_plans(tables: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Of the same tables, `user` on rank 0 in one and on rank 2, another host's, in the other."""
    paths = []
    for rank in (0, 2):
        rules, out = tmp_path / f"rules{rank}.yaml", tmp_path / f"{rank}.json"
        rules.write_text(
            f"rules: [{{tables: user, types: [table_wise], ranks: [{rank}]}}, "
            "{tables: '[it]*', types: [row_wise]}]",
            encoding="utf-8",
        )
        words = ["--cluster", "h100-2x2", "--batch-size", "512", "--rounds", "10"]
        assert (
            main(["plan", str(tables), *words, "--constraints", str(rules), "--out", str(out)]) == 0
        )
        paths.append(out)
    return paths[0], paths[1]


def test_a_difference_is_reported(
    two_plans: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = map(str, two_plans)
    capsys.readouterr()
    assert main(["plan", "diff", before, before]) == 0
    assert capsys.readouterr().out == "No shard moves.\n"
    assert main(["plan", "diff", before, after]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    # 500,000 rows of 128 fp32 and one accumulator each, from host to host at 50 GB/s.
    assert "258.00 MB of weights and optimizer state between 1 pairs of ranks" in shown
    assert "about 0.00516 s" in shown
    assert "item" not in shown


def test_copies_are_there_already(
    two_plans: tuple[Path, Path],
    tables: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rules, copies = tmp_path / "copies.yaml", tmp_path / "copies.json"
    rules.write_text("rules: [{tables: '*', types: [data_parallel]}]", encoding="utf-8")
    words = ["--cluster", "h100-2x2", "--batch-size", "512", "--out", str(copies)]
    assert main(["plan", str(tables), *words, "--constraints", str(rules)]) == 0
    capsys.readouterr()
    assert main(["plan", "diff", str(copies), str(two_plans[0])]) == 0
    assert "Nothing is sent: every rank already has its shards" in capsys.readouterr().out


def test_a_table_is_explained(
    two_plans: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(two_plans[0])
    capsys.readouterr()
    assert main(["plan", "show", path]) == 0
    assert "3 tables on 4 ranks" in capsys.readouterr().out
    assert main(["plan", "show", path, "user"]) == 0
    shown = capsys.readouterr().out
    assert "user: table_wise, fused, on ranks 0; the plan takes" in shown
    assert "chosen" in shown
    assert "forbidden by a rule" in shown
    assert main(["plan", "show", path, "usr"]) == 2
    assert f"{path}: no table 'usr' in the plan; tables: user" in capsys.readouterr().err
    with pytest.raises(UserError, match="no table 'usr'"):
        main(["plan", "show", path, "usr", "--debug"])
    assert main(["plan", "show", "nowhere.json"]) == 2
    assert "nowhere.json: cannot be read" in capsys.readouterr().err


def test_a_runs_own_exchanges_and_groups_hold_and_options_win(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "debug", "--cluster", "cpu-2x1", "--data.path", str(prepared), "--json"]
    own = ["--sharding.qcomm_forward", "fp16", "--sharding.replica_groups", "2"]
    assert main([*words, *own]) == 0
    of_run = json.loads(capsys.readouterr().out)["setup"]
    assert (of_run["qcomm_forward"], of_run["replica_groups"]) == ("fp16", 2)
    assert main([*words, *own, "--replica-groups", "1"]) == 0
    of_option = json.loads(capsys.readouterr().out)["setup"]
    assert (of_option["qcomm_forward"], of_option["replica_groups"]) == ("fp16", 1)
