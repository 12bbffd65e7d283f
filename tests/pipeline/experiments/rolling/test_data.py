"""Origins are prepared once, and never from other data."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.config.overrides import resolve
from pipeline.data.prepare.writer import no_progress
from pipeline.data.table.spec import TableSpec
from pipeline.experiments.rolling.data import (
    KuairandData,
    TableData,
    daily_data,
    prepare_origin,
)
from pipeline.experiments.rolling.design import check_tasks
from pipeline.experiments.rolling.origins import find_origins
from pipeline.io.errors import UserError
from tests.pipeline.data.prepare.small_kuairand import write_raw


def test_an_origin_is_prepared_once_and_ends_with_its_test_day(tmp_path: Path) -> None:
    data = KuairandData(write_raw(tmp_path / "raw"), None)
    days = data.days()
    assert days[0] == date(2022, 4, 29)
    origins = find_origins(days, 1, None)
    schema = prepare_origin(data, origins[0], tmp_path / "data", no_progress)
    path = tmp_path / "data" / origins[0].name / "schema.json"
    before = path.stat().st_mtime_ns
    assert prepare_origin(data, origins[0], tmp_path / "data", no_progress) == schema
    assert path.stat().st_mtime_ns == before
    rows = {split: found.rows for split, found in schema.splits.items()}
    later = prepare_origin(data, origins[1], tmp_path / "data", no_progress)
    assert later.splits["train"].rows == rows["train"] + rows["val"]
    assert later.splits["val"].rows == rows["test"]


def test_origins_of_other_data_are_not_taken(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    data = KuairandData(raw, None)
    origin = find_origins(data.days(), 1, 1)[0]
    prepare_origin(data, origin, tmp_path / "data", no_progress)
    other = KuairandData(raw, tmp_path / "early.csv")
    (tmp_path / "early.csv").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="prepared from other data"):
        prepare_origin(other, origin, tmp_path / "data", no_progress)
    log = next(raw.glob("log_*.csv"))
    os.utime(log, ns=(0, 0))
    with pytest.raises(UserError, match=rf"{log.name} was another file then"):
        prepare_origin(data, origin, tmp_path / "data", no_progress)


def test_origins_of_a_table_depend_on_its_files_and_columns(tmp_path: Path) -> None:
    log = tmp_path / "log.parquet"
    rows = pl.DataFrame({"ts": [datetime(2022, 5, 1 + day) for day in range(4)] * 8})
    rows = rows.with_columns(pl.lit(1).alias("user"), (pl.row_index() % 2).alias("click"))
    rows.write_parquet(log)

    def table(name: str) -> TableData:
        spec = {
            "source": {"path": [str(log)]},
            "labels": {"click": {"column": "click", "category": "watch"}},
            "features": {name: {"type": "id", "group": "user", "column": "user"}},
        }
        return TableData(TableSpec.model_validate(spec), "ts")

    data, folder = table("user"), tmp_path / "data"
    origin = find_origins(data.days(), 1, 1)[0]
    schema = prepare_origin(data, origin, folder, no_progress)
    assert prepare_origin(table("user"), origin, folder, no_progress) == schema
    with pytest.raises(UserError, match="it has other settings"):
        prepare_origin(table("owner"), origin, folder, no_progress)
    rows.head(16).write_parquet(log)
    with pytest.raises(UserError, match=r"log\.parquet was another file then"):
        prepare_origin(data, origin, folder, no_progress)


def test_weights_are_rejected_before_anything_is_prepared() -> None:
    base = resolve("debug", None, ["--data.weight", "w"])
    with pytest.raises(UserError, match="rows have weights"):
        daily_data(base, Path("raw"), None)
    with pytest.raises(UserError, match="--early gone"):
        daily_data(resolve("debug", None, []), Path("raw"), Path("gone.csv"))


def test_origins_need_the_same_tasks() -> None:
    check_tasks({"2022-05-01": ["click"], "2022-05-02": ["click"]})
    with pytest.raises(UserError, match=r"origin 2022-05-02: its tasks are click, like, and"):
        check_tasks({"2022-05-01": ["click"], "2022-05-02": ["click", "like"]})
