"""The two commands: init writes a file, train prepares what it names and trains."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from launchers.cli.main import main
from tests.pipeline.data.table.tables import table

FEW = ("--train.max_steps", "3", "--train.batch_size", "64", "--embeddings.dim", "8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table in two files, and its configuration."""
    monkeypatch.chdir(tmp_path)
    Path("logs").mkdir()
    frame = table(900).drop("weights")
    frame[:500].write_parquet("logs/a.parquet")
    frame[500:].write_parquet("logs/b.parquet")
    assert main(["init", "logs/*.parquet", "--labels", "click", "--out", "run.yaml"]) == 0
    return tmp_path


def train(*options: str, out: str = "run") -> int:
    return main(["train", "--config", "run.yaml", "--out", out, *FEW, *options])


def losses(out: str) -> list[float]:
    lines = Path(out, "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [one["loss/total"] for one in map(json.loads, lines) if "loss/total" in one]


def test_the_first_rank_prepares_for_all(folder: Path) -> None:
    words = ["launch", "--nproc", "2", "--", "train", "--config", "run.yaml", "--out", "two"]
    assert main([*words, *FEW]) == 0
    assert {path.name for path in Path("data").iterdir()} == {"run"}
    assert main(["evaluate", "--checkpoint", "two", "--split", "test"]) == 0


def test_always_trains_like_once(folder: Path) -> None:
    assert train("--train.log_every", "1", out="once") == 0
    always = ("--data.encode", "always", "--data.path", "data/raw", "--train.log_every", "1")
    assert train(*always, out="always") == 0
    assert not list(Path("data/raw").glob("train/*"))
    assert losses("always") == losses("once")
    assert main(["train", "--resume", "--out", "always", "--train.max_steps", "5"]) == 0


def test_files_that_change_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "table", "--config", "run.yaml"]) == 0
    later = Path("logs/c.parquet")
    table(10, seed=1).drop("weights").write_parquet(later)
    capsys.readouterr()
    assert train() == 2
    error = capsys.readouterr().err
    assert f"{later} has been added to the table" in error
    assert "prepare table --config FILE --overwrite" in error
    assert not Path("run").exists()
    assert main(["prepare", "table", "--config", "run.yaml", "--overwrite"]) == 0
    assert train() == 0
    later.unlink()
    assert train(out="other") == 2
    assert f"{later} is not part of the table any more" in capsys.readouterr().err


def test_a_changed_configuration_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "table", "--config", "run.yaml"]) == 0
    text = Path("run.yaml").read_text(encoding="utf-8")
    Path("run.yaml").write_text(text.replace("category: all", "category: other"), encoding="utf-8")
    assert train() == 2
    assert "data/run: prepared with another data.labels" in capsys.readouterr().err
    Path("run.yaml").write_text(text, encoding="utf-8")
    assert train("--data.encode", "always") == 2
    assert "data/run: prepared with data.encode once, not always" in capsys.readouterr().err


def test_the_copy_outlives_its_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "table", "--config", "run.yaml"]) == 0
    for path in Path("logs").iterdir():
        path.unlink()
    assert train() == 0
    assert "note: not compared with data/run" in capsys.readouterr().err


def test_a_bad_value_ends_preparation_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.read_parquet("logs/b.parquet").with_columns(
        click=pl.when(pl.int_range(pl.len()) == 7).then(2).otherwise("click")
    )
    frame.write_parquet("logs/b.parquet")
    assert train() == 2
    error = capsys.readouterr().err
    assert "logs/b.parquet: row 7 (from 0), column 'click': 2 is not a label" in error
    assert "Traceback" not in error
    assert not Path("data").exists() or not list(Path("data").iterdir())
    assert train("--data.on_bad_row", "skip") == 0
