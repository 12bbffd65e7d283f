"""A key index finds what a dictionary finds."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.sources.key_index import ROW, KeyIndex

KEY = st.tuples(st.text("ab", max_size=2), st.text("ab", max_size=2))
SCHEMA = {"0": pl.String, "1": pl.String}


@given(
    st.lists(KEY, unique=True, max_size=12),
    st.lists(st.tuples(*[st.none() | st.text("abc", max_size=2)] * 2), max_size=12),
)
def test_what_is_found(keys: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> None:
    index = KeyIndex(pl.DataFrame(keys, SCHEMA, orient="row").with_row_index(ROW, offset=3))
    rows = {key: row for row, key in enumerate(keys, 3)}
    found = index.find(pl.DataFrame(wanted, SCHEMA, orient="row"))
    assert found.to_pylist() == [rows.get(key) for key in wanted]
