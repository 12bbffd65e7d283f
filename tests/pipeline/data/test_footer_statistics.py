"""Statistics of footers are pyarrow's, and a damaged footer does not end the process."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.footer_statistics import footer_statistics
from pipeline.io.parquet_input import read_footer
from tests.pipeline.data.small_folder import TYPES, random_rows
from tests.pipeline.data.test_column_types import WRITERS, Rewrite


def pyarrows(footer: pq.FileMetaData) -> list[list[tuple[str, tuple[float, float] | None]]]:
    found = []
    for group in map(footer.row_group, range(footer.num_row_groups)):
        of_group: list[tuple[str, tuple[float, float] | None]] = []
        for column in map(group.column, range(group.num_columns)):
            name = column.path_in_schema.partition(".")[0]
            stated = column.statistics
            if stated is None:
                continue
            if stated.has_min_max and isinstance(stated.min, (int, float)):
                of_group.append((name, (stated.min, stated.max)))
            elif stated.null_count == column.num_values:
                of_group.append((name, None))
        found.append(of_group)
    return found


@pytest.mark.parametrize("rewrite", WRITERS.values(), ids=WRITERS)
def test_statistics_are_those_that_pyarrow_reads(tmp_path: Path, rewrite: Rewrite) -> None:
    table = rewrite(pa.Table.from_pylist(random_rows(40), schema=TYPES))
    pq.write_table(table, tmp_path / "part", row_group_size=13)
    footer = read_footer(tmp_path / "part")
    found = footer_statistics(tmp_path / "part", footer)
    assert len(found) == 4
    assert [[tuple(one) for one in of_group] for of_group in found] == pyarrows(footer)


def small_file(value: int) -> tuple[bytes, bytes]:
    """The pages and the footer of a file of one column."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [value, None, 0]}), sink, store_schema=False)
    whole = sink.getvalue().to_pybytes()
    length = int.from_bytes(whole[-8:-4], "little")
    return whole[: -length - 8], whole[-length - 8 : -8]


def statistics(path: Path, pages: bytes, footer: bytes) -> object:
    path.write_bytes(pages + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return footer_statistics(path, read_footer(path))


def test_no_flipped_bit_of_a_footer_ends_the_process(tmp_path: Path) -> None:
    """pyarrow's RowGroupMetaData.column() aborts for a hundred of them."""
    pages, footer = small_file(5)
    read = 0
    for place in range(len(footer)):
        for bit in range(8):
            changed = bytearray(footer)
            changed[place] ^= 1 << bit
            try:
                statistics(tmp_path / "part", pages, bytes(changed))
            except (pa.ArrowException, OSError):  # the footer cannot be read at all
                continue
            read += 1
    assert read > len(footer)


def test_a_limit_of_too_few_bytes_is_left_out(tmp_path: Path) -> None:
    """pyarrow's ColumnChunkMetaData.statistics aborts."""
    value = 0x0102030405060708
    limit = b"\x08" + value.to_bytes(8, "little")
    pages, footer = small_file(value)
    assert statistics(tmp_path / "part", pages, footer) == [[("a", (0, value))]]
    assert limit in footer
    assert statistics(tmp_path / "part", pages, footer.replace(limit, b"\x07" + limit[1:8])) == [[]]
