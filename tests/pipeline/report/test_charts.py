"""Charts add up what files list."""

from __future__ import annotations

from pipeline.report.charts import bytes_by_rank


def test_shards_say_where_bytes_lie() -> None:
    shards = [{"rank": 3, "bytes": 70}, {"rank": 1, "bytes": 20}, {"rank": 3, "bytes": 10}]
    table = {"sharding_type": "column_wise", "ranks": [3, 1], "bytes": 100, "shards": shards}
    assert bytes_by_rank(table) == {3: 80, 1: 20}
