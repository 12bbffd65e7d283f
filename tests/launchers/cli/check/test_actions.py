"""homerec check: text, JSON and page; exit codes; nothing is read if a file cannot be written."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from launchers.cli.main import main
from tests.pipeline.data.table.tables import table

_CONFIG = """\
data:
  path: data
  source: {path: log.parquet}
  split: {by: time, column: time, val_from: 2026-05-12, test_from: 2026-05-13}
  user: user
  labels: {click: {}, stayed: {column: stay, at_least: 8}}
features:
  user: {type: id}
  tags: {type: ids}
  price: {type: number}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with bad prices in rows 3, 103, ... and its configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    bad = pl.when(pl.int_range(1500) % 100 == 3).then(float("inf"))
    table(1500).with_columns(price=bad.otherwise("price")).write_parquet("log.parquet")
    Path("run.yaml").write_text(_CONFIG, encoding="utf-8")
    return tmp_path


def test_text_fits_80_columns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "run.yaml"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert "column 'price': 15 not a finite number of float32; leave it empty" in text
    assert "  log.parquet: row 903 (from 0): inf" in text
    assert "  log.parquet: row 1003 (from 0): inf" not in text
    assert "  and 5 more" in text
    assert "error: bad rows: 15 of 1,500; correct them, or leave them out" in text


def test_bad_rows_that_are_skipped_are_no_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", "run.yaml", "--data.on_bad_row", "skip"]) == 0
    assert "warning: bad rows: 15 of 1,500; they are left out" in capsys.readouterr().out


def test_json_on_stdout_is_what_the_file_has(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", "run.yaml", "--json", "-"]) == 2
    printed = capsys.readouterr().out
    assert main(["check", "--config", "run.yaml", "--json", "x.json", "--html", "x.html"]) == 2
    assert Path("x.json").read_text(encoding="utf-8") == printed
    found = json.loads(printed)
    assert (found["rows"], found["bad_rows"]) == (1500, 15)
    assert [one["name"] for one in found["features"]] == ["user", "tags", "price"]
    assert Path("x.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--json", "none/x.json"], "none/x.json: no folder none"),
        (["--html", "none/x.html"], "give another with --html"),
        (["--json", "--html=x.html"], "--json: '--html=x.html' is an option"),
        (["--data.time", "tiem"], "no column 'tiem'"),
        (["--data.source.path", "nix.parquet"], "nix.parquet: no such file"),
    ],
)
def test_wrong_input_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["check", "--config", "run.yaml", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert sorted(path.name for path in folder.iterdir()) == ["log.parquet", "run.yaml"]


def test_preparing_says_how_many_rows_were_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = _CONFIG.replace("  user: user\n", "  on_bad_row: skip\n")
    Path("run.yaml").write_text(text, encoding="utf-8")
    assert main(["prepare", "table", "--config", "run.yaml"]) == 0
    assert (
        "left out 15 rows with bad values; first: log.parquet: row 3 (from 0), column 'price': inf "
        "is not a finite number" in capsys.readouterr().out
    )
