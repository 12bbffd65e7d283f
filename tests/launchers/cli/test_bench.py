from __future__ import annotations

import re
from pathlib import Path

import pytest

from launchers.cli.main import main
from tests.pipeline.data.table.tables import table


def test_the_cost_of_preparing_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table(200).drop("weights").write_parquet("log.parquet")
    assert main(["init", "log.parquet", "--labels", "click", "--out", "run.yaml"]) == 0
    capsys.readouterr()
    assert main(["bench", "input", "--config", "run.yaml"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("200 rows")
    assert re.search(r"prepare table takes \d+\.\d times the CPU of Polars", printed)
    assert {path.name for path in tmp_path.iterdir()} == {"log.parquet", "run.yaml"}


def test_a_table_that_cannot_be_prepared_ends_in_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table(200).drop("weights").write_parquet("log.parquet")
    assert main(["init", "log.parquet", "--labels", "click", "--out", "run.yaml"]) == 0
    text = Path("run.yaml").read_text(encoding="utf-8")
    Path("run.yaml").write_text(re.sub(r"click: \{.*?\}", "age: {}", text), encoding="utf-8")
    assert main(["bench", "input", "--config", "run.yaml"]) == 2
    error = capsys.readouterr().err
    assert "log.parquet: row" in error
    assert "is not a label (0 or 1) of task 'age'" in error
    assert "Traceback" not in error


def test_fields_of_a_configuration_are_no_options_of_other_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["prepare", "synthetic", "--out", "x", "--train.epochs", "2"]
    assert main(words) == 2
    assert "unknown option '--train.epochs'" in capsys.readouterr().err
