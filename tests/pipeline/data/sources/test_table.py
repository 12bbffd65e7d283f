"""Reading all chunks in order returns the table that was written, whoever wrote it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.data.sources.tables import (
    TYPES,
    cuts,
    opened,
    read_all,
    tables,
    write_arrow_file,
    write_arrow_stream,
    write_categorical,
    write_polars,
    write_polars_arrow,
    write_pyarrow,
    write_small,
)

WRITERS: list[tuple[str, Callable[[pa.Table, Path], None]]] = [
    (".parquet", write_pyarrow),
    (".pq", write_polars),
    (".parquet", write_categorical),
    (".parquet", write_small),
    (".arrow", write_arrow_file),
    (".feather", write_arrow_stream),
    (".ipc", write_polars_arrow),
]


@settings(max_examples=60)
@given(st.data())
def test_all_writers_and_cuts_give_the_same_table(data: st.DataObject) -> None:
    table = data.draw(tables(*TYPES))
    with tempfile.TemporaryDirectory() as folder:
        for number, part in enumerate(data.draw(cuts(table))):
            ending, write = data.draw(st.sampled_from(WRITERS))
            order = data.draw(st.permutations(table.column_names))
            write(part.select(order), Path(folder, f"part-{number}{ending}"))
        source = opened(folder)
        assert source.types == {name: kind for name, (kind, _) in TYPES.items()}
        assert source.faults == {}
        assert read_all(source, list(TYPES)) == table
        for chunk in source.chunks:
            assert source.read(chunk, ["day", "ids"]).column_names == ["day", "ids"]
