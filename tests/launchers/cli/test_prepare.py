"""What preparing a table prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from launchers.cli.prepare_actions import run_prepare
from pipeline.data.schema import Label, Schema, SparseFeature, Table
from pipeline.data.split_counts import Split


@pytest.mark.parametrize("test_rows", [0, 1])
def test_an_empty_test_split_is_noted(capsys: pytest.CaptureFixture[str], test_rows: int) -> None:
    files = ("test/part-0.parquet",) if test_rows else ()
    schema = Schema(
        dataset="d",
        made_by="m",
        sparse=(SparseFeature(name="a", group="user", table="a"),),
        tables=(Table(name="a", vocab_size=2),),
        dense=(),
        labels=(Label(name="y", column="label_y", category="all"),),
        splits={
            "train": Split(positives={"y": 0}),
            "val": Split(positives={"y": 0}),
            "test": Split(rows=test_rows, files=files, positives={"y": 0}),
        },
    )
    assert run_prepare(Path("out"), lambda progress: schema) == 0
    assert ("note: the test split has no rows" in capsys.readouterr().out) == (not test_rows)
