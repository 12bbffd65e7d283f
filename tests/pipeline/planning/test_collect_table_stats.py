"""Counts of Parquet files, in pieces of any size, are what a plain count finds."""

from __future__ import annotations

from collections import Counter
from math import ceil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.planner.inputs.table_list import ListedTable
from pipeline.io.errors import UserError
from pipeline.planning.collect_table_stats import collect_table_stats
from pipeline.planning.id_columns import Fold

ROWS = 12
TABLE = ListedTable(name="item", rows=ROWS, dim=16, features=("item", "history"))
FOLD = {"item": Fold(known=ROWS, rest=0)}

ids = st.integers(0, ROWS - 1)
bags = st.one_of(st.none(), st.lists(st.one_of(st.none(), ids), max_size=6))
rows = st.lists(st.tuples(st.one_of(st.none(), ids), bags), min_size=1, max_size=70)


def write(
    folder: Path, data: list[tuple[int | None, list[int | None] | None]], kind: pa.DataType
) -> list[Path]:
    """Two files of several row groups."""
    table = pa.table(
        {
            "item": pa.array([item for item, _ in data], pa.int32()),
            "history": pa.array([bag for _, bag in data], kind),
            "other": pa.array(["x"] * len(data)),
        }
    )
    paths = [folder / "a.parquet", folder / "b.parquet"]
    half = len(data) // 3
    for path, part in zip(paths, (table[:half], table[half:]), strict=True):
        pq.write_table(part, path, row_group_size=7)
    return paths


@given(
    rows,
    st.sampled_from([pa.list_(pa.int64()), pa.large_list(pa.uint16())]),
    st.sampled_from([1, 5, 2**22]),
)
@settings(max_examples=40, deadline=None)
def test_stats_are_what_a_plain_count_finds(
    tmp_path_factory: pytest.TempPathFactory,
    data: list[tuple[int | None, list[int | None] | None]],
    kind: pa.DataType,
    at_once: int,
) -> None:
    folder = tmp_path_factory.mktemp("stats")
    stats = collect_table_stats(write(folder, data, kind), [TABLE], FOLD, "data", at_once)
    # A missing id is none; so is one in a bag.
    item = [[] if one is None else [one] for one, _ in data]
    history = [[one for one in bag or [] if one is not None] for _, bag in data]
    for name, values in (("item", item), ("history", history)):
        lengths = sorted(map(len, values))
        known = stats.features[name]
        assert known.mean == pytest.approx(sum(lengths) / len(data))
        assert known.empty == pytest.approx(lengths.count(0) / len(data))
        for quantile, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
            assert known.quantiles[quantile] == lengths[ceil(share * len(data)) - 1]
    together = [a + b for a, b in zip(item, history, strict=True)]
    known_table = stats.tables["item"]
    spectrum = Counter(Counter(one for row in together for one in row).values())
    assert known_table.spectrum == tuple(sorted(spectrum.items(), reverse=True))
    wanted = []
    for size in (2**k for k in range(len(data).bit_length())):
        blocks = [together[i : i + size] for i in range(0, len(data) - size + 1, size)]
        found = [len({one for row in block for one in row}) for block in blocks]
        wanted.append(sum(found) / len(found))
    assert known_table.distinct == pytest.approx([*wanted, known_table.seen])
    assert stats.rows == len(data)


def test_ids_become_rows_as_in_training(tmp_path: Path) -> None:
    known = Fold(known=3, rest=2, null=0)
    pq.write_table(pa.table({"t": pa.array([0, 2, None, 3, 4, 5, 2**61])}), tmp_path / "a.parquet")
    table = ListedTable(name="t", rows=5, dim=16)
    stats = collect_table_stats([tmp_path / "a.parquet"], [table], {"t": known}, "data")
    # Rows 0, 2, 0, 3, 4, 3 and 3 + (2**61 - 3) % 2 = 4.
    assert stats.tables["t"].spectrum == ((2, 3), (1, 1))
    assert stats.features["t"].empty == 0


def test_lists_of_fixed_size_are_read(tmp_path: Path) -> None:
    pairs = pa.array([[1, 2], None, [2, 3]], pa.list_(pa.int64(), 2))
    pq.write_table(pa.table({"t": pairs}), tmp_path / "a.parquet")
    table = ListedTable(name="t", rows=5, dim=16)
    stats = collect_table_stats(
        [tmp_path / "a.parquet"], [table], {"t": Fold(known=5, rest=0)}, "data"
    )
    assert stats.features["t"].mean == pytest.approx(4 / 3)
    assert stats.tables["t"].spectrum == ((2, 1), (1, 2))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"t": pa.array([0, 5])}, "column 't': id 5 in a table of 5 rows; give it more rows, or"),
        ({"t": pa.array([[-1]])}, "column 't': -1 is a negative id"),
        ({"t": pa.array(["a"])}, "column 't' is string; ids must be integers"),
        ({"t": pa.array([[0.5]])}, "ids must be integers or lists of integers"),
        ({"tt": pa.array([1])}, "no column has the name of a feature; columns: tt"),
        ({"u": pa.array([1]), "T": pa.array([1])}, "no column 't'; known: u, T"),
        ({"t": pa.array([], pa.int64())}, "data: no rows"),
        ({"t": pa.array([2**63], pa.uint64())}, "cannot be read"),
    ],
)
def test_what_cannot_be_counted_is_rejected(
    column: dict[str, pa.Array], message: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(column), tmp_path / "a.parquet")
    tables = [ListedTable(name="t", rows=5, dim=16)]
    if "u" in column:
        tables.append(ListedTable(name="u", rows=5, dim=16))
    folds = {table.name: Fold(known=5, rest=0) for table in tables}
    with pytest.raises(UserError) as caught:
        collect_table_stats([tmp_path / "a.parquet"], tables, folds, "data")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_text("no", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.parquet: not a Parquet file"):
        collect_table_stats([path], [ListedTable(name="t", rows=5, dim=16)], {}, "data")
