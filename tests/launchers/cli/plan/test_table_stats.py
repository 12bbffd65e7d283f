"""`homerec plan --data`: what is counted is what training looks up; a file does as well as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from embeddings.planner.inputs.table_stats import load_table_stats
from launchers.cli.main import main
from pipeline.config.overrides import resolve
from pipeline.data.parquet_source import open_batches
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.data.schema import Schema
from pipeline.training.resolve_features import resolve_features

TABLES = """
tables:
  - {name: user, rows: 500, dim: 128}
  - {name: item, rows: 200, dim: 64, features: [item, history]}
"""
WORDS = ["--cluster", "h100-2x1", "--batch-size", "64", "--rounds", "20", "--json"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    prepare_synthetic(folder, rows=2_000, seed=3)
    return folder


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Some other project's data: two files, one of them in a folder below."""
    folder = tmp_path / "foreign"
    (folder / "day=2").mkdir(parents=True)
    frame = pl.DataFrame(
        {
            "user": [i % 250 for i in range(1000)],
            "item": [i * i % 200 for i in range(1000)],
            "history": [[i % 200, 7] if i % 2 else [] for i in range(1000)],
            "clicked": [True] * 1000,
        }
    )
    frame[:300].write_parquet(folder / "a.parquet")
    frame[300:].write_parquet(folder / "day=2" / "b.parquet")
    return folder


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    path = tmp_path / "tables.yaml"
    path.write_text(TABLES, encoding="utf-8")
    return path


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert main(["plan", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_stats_of_a_run_are_of_the_rows_that_training_looks_up(
    prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "stats.json"
    fields = ["--data.path", str(prepared), "--embeddings.hash_rows", "3"]
    assert (
        main(["plan", "table-stats", "debug", *fields, "--data", str(prepared), "--out", str(out)])
        == 0
    )
    stats = load_table_stats(out)
    config, schema = resolve("debug", None, fields), Schema.load(prepared)
    chosen = resolve_features(config, schema)
    source = open_batches(
        prepared, schema, "train", features=chosen.features, tasks=chosen.labels,
        hash_rows=dict.fromkeys((table.name for table in chosen.tables), 3),
        batch_size=100, rank=0, world_size=1, shuffle=False, seed=0, num_workers=0,
    )  # fmt: skip
    # The last batch is filled up with rows of weight 0.
    batches = [(batch.sparse, int(batch.weights.sum())) for batch in source]
    for table in chosen.tables:
        ids = torch.cat(
            [
                sparse[name].values()[: int(sparse[name].offsets()[rows])]
                for sparse, rows in batches
                for name in table.features
            ]
        )
        counts = torch.bincount(ids, minlength=table.rows)
        wanted = sorted(counts[counts > 0].tolist(), reverse=True)
        known = stats.tables[table.name]
        assert [count for count, rows in known.spectrum for _ in range(rows)] == wanted
        assert known.rows == table.rows
    assert stats.rows == sum(rows for _, rows in batches)


def test_a_plan_knows_what_is_in_the_data(
    foreign: Path, tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "stats.json"
    by_data = printed([str(tables), *WORDS, "--data", str(foreign), "--serve", "0.5"], capsys)
    user, item = (placed["table"] for placed in by_data["tables"])
    assert user["pooling_factor"] == [1.0]
    assert item["pooling_factor"] == [1.0, 1.0]
    # 250 of 500 users, each four times; a global batch is of 2 x 64 of them in turn.
    assert user["cache"]["load_factor"] == 125 / 500
    assert user["cache"]["distinct"] == pytest.approx(128, abs=1e-9)
    assert (
        main(["plan", "table-stats", str(tables), "--data", str(foreign), "--out", str(out)]) == 0
    )
    assert "top 1%" in capsys.readouterr().out
    by_file = printed([str(tables), *WORDS, "--data", str(out), "--serve", "0.5"], capsys)
    assert by_file == by_data
    one = printed([str(tables), *WORDS, "--data", str(foreign / "a.parquet")], capsys)
    assert one["tables"][0]["table"]["cache"]["load_factor"] > 125 / 500
    # Alternatives are priced with the same statistics.
    plan = tmp_path / "plan.json"
    words = [word for word in WORDS if word != "--json"]
    assert main(["plan", str(tables), *words, "--data", str(out), "--out", str(plan)]) == 0
    shown = "".join(capsys.readouterr().out.split())  # a title is broken at 80 columns
    assert f"Countedin{foreign},1,000rows;batchesof128rows" in shown
    assert main(["plan", "show", str(plan), "item"]) == 0


def test_ids_outside_a_table_are_folded_if_asked(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text("tables: [{name: user, rows: 25, dim: 128}]", encoding="utf-8")
    words = ["plan", "table-stats", str(path), "--data", str(foreign), "--json"]
    assert main(words) == 2
    assert "column 'user': id 249 in a table of 25 rows; give it more rows, or --fold" in (
        capsys.readouterr().err
    )
    assert main([*words, "--fold"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"]["user"]["spectrum"] == [[40, 25]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "nowhere"], "nowhere: no such file or folder"),
        (["--data", "empty"], "empty: contains no .parquet file"),
        (["--data", "nowhere.json"], "nowhere.json: cannot be read"),
        (["--data", "other.parquet"], "no column has the name of a feature"),
        (["--data", "partly.parquet"], "partly.parquet: no column 'history'"),
        (["--data", "good.parquet", "--serve", "95"], "--serve: 95.0 is not between 0 and 1"),
        (["--data", "stats.json"], "--data: no table 'user'; tables: u"),
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
    Path("empty").mkdir()
    pl.DataFrame({"a": [1]}).write_parquet("other.parquet")
    pl.DataFrame({"user": [1], "item": [1]}).write_parquet("partly.parquet")
    good = pl.DataFrame({"user": [1], "item": [1], "history": [[1]], "u": [1]})
    good.write_parquet("good.parquet")
    Path("u.yaml").write_text("tables: [{name: u, rows: 25, dim: 128}]", encoding="utf-8")
    assert (
        main(["plan", "table-stats", "u.yaml", "--data", "good.parquet", "--out", "stats.json"])
        == 0
    )
    capsys.readouterr()
    assert main(["plan", str(tables), *WORDS, *words]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [message in line for line in errors if "homerec: error" in line] == [True]


def test_a_run_rejects_data_of_other_vocabularies(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    prepare_synthetic(other, rows=1_000, seed=4)
    words = ["plan", "debug", "--data.path", str(prepared), "--cluster", "cpu-2x1"]
    assert main([*words, "--data", str(other)]) == 2
    assert "differs from that of the model" in capsys.readouterr().err
    assert main([*words, "--data", str(tmp_path)]) == 2
    assert "not a prepared folder" in capsys.readouterr().err
    assert main([*words, "--data", str(prepared), "--fold"]) == 2
    assert "--fold: a run has its own hash rows" in capsys.readouterr().err
