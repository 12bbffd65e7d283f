"""Origins are prepared once, and never from other data."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pipeline.data.prepare.writer import no_progress
from pipeline.experiments.rolling.data import KuairandData, prepare_origin
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
    with pytest.raises(UserError, match="prepared from other data"):
        prepare_origin(other, origin, tmp_path / "data", no_progress)
