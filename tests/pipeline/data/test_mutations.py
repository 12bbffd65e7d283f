"""Whatever becomes of a prepared folder's files, they are read or one line says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.schema import Schema
from tests.mutations import assert_read_or_refused, byte_mutations, text_mutations
from tests.pipeline.data.small_folder import HASH_ROWS, open_small, random_rows, write_folder


def read(folder: Path) -> None:
    schema = Schema.load(folder)
    hash_rows = HASH_ROWS | {table.name: 5 for table in schema.tables}
    if not schema.sparse or not schema.labels:
        return  # resolve_features() refuses these
    source = open_small(folder, hash_rows=hash_rows, with_oracle=True)
    source.check_values()
    for _ in source:
        pass


def test_a_schema_is_read_or_one_line_says_why_not(tmp_path: Path) -> None:
    write_folder(tmp_path, random_rows(20))
    path = tmp_path / "schema.json"
    for changed in text_mutations(path.read_text(encoding="utf-8")):
        path.write_bytes(changed)
        assert_read_or_refused(lambda: read(tmp_path), changed)


@pytest.mark.parametrize("part", ["footer", "pages"])
def test_a_parquet_file_is_read_or_one_line_says_why_not(tmp_path: Path, part: str) -> None:
    schema = write_folder(tmp_path, random_rows(20))
    path = tmp_path / schema.splits["train"].files[0]
    whole = path.read_bytes()
    # The last 8 bytes are the footer's length and 'PAR1'.
    border = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for changed in byte_mutations(whole[border:] if part == "footer" else whole[:border]):
        path.write_bytes(whole[:border] + changed if part == "footer" else changed + whole[border:])
        assert_read_or_refused(lambda: read(tmp_path), changed)
