"""Small row groups are read together, with the same rows, places and errors as by themselves."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.sources import merge_chunks as limits
from pipeline.data.sources.files import Chunk
from pipeline.data.sources.merge_chunks import merge_chunks
from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import TYPES, opened, tables, write_polars, write_small

ROWS = 300
TABLE = pa.table(
    {
        "n": range(ROWS),
        "text": [None if row % 7 == 0 else f"t{row % 50 + row // 100}" for row in range(ROWS)],
        "ids": [None if row % 11 == 0 else [row] * (row % 4) for row in range(ROWS)],
    }
)


def small_groups(folder: Path, **options: Any) -> Path:
    """Write TABLE in row groups of 30 rows."""
    pq.write_table(TABLE, folder / "small.parquet", row_group_size=30, **options)
    return folder / "small.parquet"


PARTS = st.tuples(st.integers(1, 9), st.none() | st.integers(1, 9))


@given(st.lists(st.lists(PARTS, max_size=9), max_size=3), st.integers(1, 20), st.integers(1, 20))
def test_neighbours_are_merged_up_to_the_limits(
    files: list[list[tuple[int, int | None]]], max_rows: int, max_bytes: int
) -> None:
    chunks = []
    for file, parts in enumerate(files):
        first = 0
        for part, (rows, size) in enumerate(parts):
            chunks.append(Chunk(file, part, first, (rows,), size))
            first += rows

    def fit(size: int | None, rows: int) -> bool:
        return size is not None and size <= max_bytes and rows <= max_rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_BYTES", max_bytes)
        merged = merge_chunks(chunks, max_rows)
    cut = [(one.file, part) for one in merged for part in one.parts]
    assert cut == [(one.file, one.part) for one in chunks]
    assert [n for one in merged for n in one.part_rows] == [one.rows for one in chunks]
    by_place = {(one.file, one.part): one for one in chunks}
    for one in merged:
        assert one.first_row == by_place[one.file, one.part].first_row
        assert len(one.parts) == 1 or fit(one.size, one.rows)
    for one, after in pairwise(merged):
        following = by_place[after.file, after.part]
        if one.file == after.file and one.size and following.size:
            assert not fit(one.size + following.size, one.rows + following.rows)


def test_an_empty_row_group_ends_a_chunk() -> None:
    chunks = [Chunk(0, part, 0, (1,), 1) for part in (0, 1, 3)]
    assert [one.parts for one in merge_chunks(chunks, 10)] == [range(2), range(3, 4)]


@given(tables(*TYPES), st.sampled_from([write_small, write_polars]), st.integers(1, 9))
def test_the_rows_are_those_of_one_row_group(
    tmp_path_factory: pytest.TempPathFactory, table: pa.Table, write: Any, max_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("files")
    pq.write_table(table, folder / "one.parquet")
    write(table, folder / "small.parquet")
    one, small = (opened(folder / f"{name}.parquet") for name in ("one", "small"))
    whole = one.read(one.chunks[0], list(TYPES)) if len(table) else table
    merged = merge_chunks(small.chunks, max_rows)
    parts = [small.read(chunk, list(TYPES)) for chunk in merged]
    assert pa.concat_tables([whole.schema.empty_table(), *parts]) == whole


def test_row_groups_of_a_chunk_are_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(small_groups(tmp_path))
    assert len(source.chunks) == 10
    (chunk,) = merge_chunks(source.chunks, ROWS)
    reads = []
    read = pq.ParquetFile.read_row_groups

    def counted(*args: Any, **options: Any) -> pa.Table:
        reads.append(args)
        return read(*args, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    assert source.read(chunk, ["n"])["n"].to_pylist() == list(range(ROWS))
    assert len(reads) == 1
    assert source.locate(chunk, 77).endswith("small.parquet: row 77 (from 0)")


def test_the_damaged_row_group_is_named(tmp_path: Path) -> None:
    path = small_groups(tmp_path, compression="snappy", use_dictionary=False)
    data = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(6).column(1).data_page_offset
    data[start : start + 50] = b"\xff" * 50
    path.write_bytes(data)
    source = opened(path)
    for max_rows, first in ((ROWS, 0), (60, 3)):
        chunk = merge_chunks(source.chunks, max_rows)[first]
        with pytest.raises(UserError, match=r"small\.parquet: row group 6 cannot be read \("):
            source.read(chunk, source.names)


def test_the_bad_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "small.parquet"
    text = pa.array([b"x"] * 20 + [b"M\xfcller"] + [b"x"] * 9).view(pa.string())
    pq.write_table(pa.table({"a": text}), path, row_group_size=3)
    source = opened(path)
    chunk = merge_chunks(source.chunks, 15)[1]
    with pytest.raises(UserError, match=r"row 20 \(from 0\), column 'a': text that is not UTF-8"):
        source.read(chunk, ["a"])
