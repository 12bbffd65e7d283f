"""Table statistics agree with counting lookups one by one."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.planner.inputs.table_list import ListedTable, usage
from embeddings.planner.inputs.table_stats import (
    AccessCounts,
    FeatureStats,
    TableStats,
    load_table_stats,
)

counts = st.lists(st.integers(0, 9), min_size=1, max_size=30)


def accesses(lookups: list[int], distinct: tuple[float, ...] = ()) -> AccessCounts:
    """Of a table whose row i is looked up `lookups[i]` times."""
    spectrum = Counter(n for n in lookups if n)
    seen = float(sum(spectrum.values()))
    return AccessCounts(
        rows=len(lookups),
        features=("t",),
        spectrum=tuple(sorted(spectrum.items(), reverse=True)),
        distinct=(*distinct, seen),
    )


@given(counts)
def test_served_is_the_share_of_the_most_looked_up_rows(lookups: list[int]) -> None:
    known = accesses(lookups)
    assert (known.lookups, known.seen) == (sum(lookups), sum(n > 0 for n in lookups))
    ordered = sorted(lookups, reverse=True)
    for rows in range(len(lookups) + 1):
        wanted = sum(ordered[:rows]) / sum(lookups) if sum(lookups) else 1.0
        assert known.served(rows) == pytest.approx(wanted)


@given(counts, st.floats(0.01, 1.0))
def test_no_fewer_rows_serve_a_share(lookups: list[int], share: float) -> None:
    known = accesses(lookups)
    rows = known.rows_for(share)
    assert 1 <= rows <= len(lookups)
    assert known.served(rows) >= share - 1e-6
    if rows > 1:
        assert known.served(rows - 1) < share


@given(counts, st.integers(1, 500))
def test_misses_are_distinct_ids_that_are_not_cached(lookups: list[int], batch: int) -> None:
    known = accesses(lookups)
    ordered = sorted(lookups, reverse=True)
    total = sum(lookups)
    present = [1 - (1 - n / total) ** batch if n else 0.0 for n in ordered]
    for rows in range(len(lookups) + 1):
        wanted = sum(present[rows:]) / sum(present) if total and rows < len(lookups) else 0.0
        assert known.miss_rate(rows, batch) == pytest.approx(wanted, abs=1e-9)


@given(counts)
def test_cacheability_is_the_area_under_the_misses(lookups: list[int]) -> None:
    known = accesses(lookups)
    missed = [1 - known.served(rows) for rows in range(len(lookups) + 1)]
    area = sum((a + b) / 2 for a, b in pairwise(missed)) / len(lookups)
    assert known.cacheability() == pytest.approx(area)


def test_distinct_ids_between_what_was_counted() -> None:
    known = accesses([4, 2, 1, 1], distinct=(1.0, 1.75, 3.0))
    assert [known.distinct_in(rows) for rows in (1, 2, 3, 4, 8, 10**6)] == [
        1.0, 1.75, 2.375, 3.0, 4.0, 4.0
    ]  # fmt: skip


def some_stats() -> TableStats:
    lookups = [8, 4, 2, 1, 1, 0, 0, 0]
    return TableStats(
        source="data",
        rows=8,
        features={"t": FeatureStats(mean=2.0, empty=0.25, quantiles={"p50": 2, "max": 5})},
        tables={"t": accesses(lookups, distinct=(1.5, 2.5, 3.5, 5.0))},
    )


def test_a_table_is_used_as_its_statistics_say() -> None:
    stats = some_stats()
    used = stats.with_stats(ListedTable(name="t", rows=8, dim=16, pooling_factor=7.0), 4, 0.75)
    known = usage([used])["t"]
    assert known.pooling_factors == [2.0]
    assert known.cache_params.load_factor == 2 / 8  # 12 of 16 lookups
    assert known.cache_params.stats.expected_lookups == 3.5
    miss = stats.tables["t"].miss_rate(2, lookups=4 * 2.0)
    assert known.cache_params.stats.expected_miss_rate(2 / 8) == miss
    assert 0.25 < miss < 1  # of distinct ids more are missed than of lookups
    assert known.cache_params.stats.cacheability == stats.tables["t"].cacheability()
    # Two bags a sample share its ids.
    two = ListedTable(name="t", rows=8, dim=16, num_poolings=2.0)
    assert stats.with_stats(two, 4, 0.75).pooling_factor == (1.0,)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": "u"}, "no table 'u'; tables: t; collect the statistics again"),
        ({"rows": 9}, "table 't' has rows 8 there and 9 here"),
        ({"features": ("v",)}, "table 't' has features t there and v here"),
    ],
)
def test_stats_of_another_table_are_rejected(table: dict[str, Any], message: str) -> None:
    fields = {"name": "t", "rows": 8, "dim": 16, **table}
    with pytest.raises(ValueError, match=message):
        some_stats().with_stats(ListedTable(**fields), 4, 0.95)


def test_a_feature_that_never_comes_is_rejected() -> None:
    stats = some_stats()
    empty = stats.model_copy(
        update={"features": {"t": FeatureStats(mean=0.0, empty=1.0, quantiles={})}}
    )
    with pytest.raises(ValueError, match="feature 't' has no id in any row"):
        empty.with_stats(ListedTable(name="t", rows=8, dim=16), 4, 0.95)


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_stats_come_back_from_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"stats{suffix}"
    path.write_text(some_stats().to_json(), encoding="utf-8")  # JSON is YAML
    assert load_table_stats(path) == some_stats()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "not table statistics of version 1"),
        ({"kind": "other"}, "not table statistics of version 1"),
        ({"rows": 0}, "rows: 0: "),
        ({"tables": {"t": {"rows": 1, "features": ["t"], "spectrum": [[1, 2]], "distinct": [2]}}},
         "2 rows of 1; collect the statistics again"),
        ({"tables": {"t": {"rows": 9, "features": ["t"], "spectrum": [[1, 2], [3, 1]],
                           "distinct": [3]}}}, "must be positive and decreasing"),
        ({"tables": {"t": {"rows": 9, "features": ["t"], "spectrum": [[1, 2]], "distinct": [3]}}},
         "does not end with all ids"),
    ],
)  # fmt: skip
def test_other_files_are_rejected(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    path.write_text(json.dumps(json.loads(some_stats().to_json()) | change), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        load_table_stats(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        load_table_stats(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match="not table statistics"):
        load_table_stats(tmp_path / "list.json")
