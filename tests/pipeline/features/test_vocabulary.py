"""Known ids get small indices, unknown ones a hash that never changes, missing ones 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.features.vocabulary import Vocabulary, hash_integers, hash_text
from pipeline.io.errors import UserError
from tests.mutations import assert_read_or_refused, byte_mutations

INT64 = st.integers(-(2**63), 2**63 - 1)


def counted(ids: list[int] | list[str], counts: list[int], min_count: int) -> Vocabulary:
    return Vocabulary.from_counts("t", pl.DataFrame({"id": ids, "count": counts}), min_count)


def test_most_frequent_ids_come_first_and_rare_ones_not_at_all() -> None:
    vocabulary = counted([5, 7, 9, 5, 1], [2, 4, 1, 3, 4], min_count=2)
    assert vocabulary.ids.to_list() == [5, 1, 7]
    assert vocabulary.vocab_size == 4
    assert vocabulary.encode(pl.Series([7, 5, None, 1])).tolist() == [3, 1, 0, 2]


def test_words_are_encoded_like_numbers() -> None:
    vocabulary = counted(["b", "a"], [3, 1], min_count=1)
    codes = vocabulary.encode(pl.Series(["a", None, "b", "new", "new"]))
    assert codes.tolist() == [2, 0, 1, 3 + hash_text("new"), 3 + hash_text("new")]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String])
def test_an_empty_vocabulary_hashes_everything(dtype: type[pl.DataType]) -> None:
    vocabulary = Vocabulary("t", pl.Series([], dtype=dtype))
    assert vocabulary.vocab_size == 1
    codes = vocabulary.encode(pl.Series([1, None]).cast(dtype))
    assert codes[0] >= 1
    assert codes[1] == 0


def test_hashes_are_part_of_the_format() -> None:
    # splitmix64's first outputs for the seeds 0 and 1, without their two lowest bits
    expected = [0xE220A8397B1DCDAF >> 2, 0x910A2DEC89025CC1 >> 2]
    assert hash_integers(np.array([0, 1])).tolist() == expected
    assert hash_text("NORMAL") == 3_310_031_861_850_292_491


@given(st.lists(INT64, max_size=30), st.lists(st.one_of(st.none(), INT64), max_size=30))
def test_codes_are_never_negative_and_tell_known_from_unknown(
    known: list[int], values: list[int | None]
) -> None:
    counts = pl.DataFrame(
        {"id": known, "count": [1] * len(known)}, schema_overrides={"id": pl.Int64}
    )
    vocabulary = Vocabulary.from_counts("t", counts, 1)
    codes = vocabulary.encode(pl.Series(values, dtype=pl.Int64))
    for value, code in zip(values, codes.tolist(), strict=True):
        if value is None:
            assert code == 0
        elif value in known:
            assert vocabulary.ids[code - 1] == value
        else:
            assert vocabulary.vocab_size <= code < vocabulary.vocab_size + 2**62


def test_saved_as_ids_and_indices(tmp_path: Path) -> None:
    counted([5, 7], [1, 2], min_count=1).save(tmp_path)
    saved = pl.read_parquet(tmp_path / "t.parquet")
    assert saved.schema == {"id": pl.String, "index": pl.Int64}
    assert saved.rows() == [("7", 1), ("5", 2)]


def test_a_saved_vocabulary_loads_back_equal(tmp_path: Path) -> None:
    for values in (pl.Series("ids", [5, 3, 9]), pl.Series("ids", ["b", "a,c"])):
        vocabulary = Vocabulary("things", values)
        vocabulary.save(tmp_path)
        loaded = Vocabulary.load(tmp_path, "things", values.dtype)
        assert loaded.ids.to_list() == values.to_list()
        assert loaded.fingerprint == vocabulary.fingerprint


def test_fingerprints_tell_order_and_ids_apart() -> None:
    lists = [[1, 2, 3], [1, 3, 2], [1, 2], [12, 3], [1, 23]]
    prints = {Vocabulary("things", pl.Series(ids)).fingerprint for ids in lists}
    assert len(prints) == len(lists)


@pytest.mark.parametrize("values", [["a", "b,c", "d"], list(range(200))], ids=["text", "numbers"])
def test_a_changed_vocabulary_is_read_or_one_line_says_why_not(
    tmp_path: Path, values: list[Any]
) -> None:
    vocabulary = Vocabulary("things", pl.Series("ids", values))
    vocabulary.save(tmp_path)
    path = tmp_path / "things.parquet"
    for changed in byte_mutations(path.read_bytes()):
        path.write_bytes(changed)
        assert_read_or_refused(
            lambda: Vocabulary.load(tmp_path, "things", vocabulary.ids.dtype).fingerprint, changed
        )


def test_no_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"things\.parquet: no such vocabulary"):
        Vocabulary.load(tmp_path, "things", pl.Int64())
    Vocabulary("things", pl.Series(["a"])).save(tmp_path)
    with pytest.raises(UserError, match=r"things\.parquet: not a vocabulary of this data"):
        Vocabulary.load(tmp_path, "things", pl.Int64())


@given(
    st.lists(INT64 | st.integers(-9, 9), max_size=30, unique=True),
    st.lists(st.none() | INT64 | st.integers(-9, 9), max_size=30),
)
def test_numbers_are_found_near_and_far_apart(ids: list[int], values: list[int | None]) -> None:
    vocabulary = Vocabulary("t", pl.Series(ids, dtype=pl.Int64))
    places = {one: index for index, one in enumerate(ids, start=1)}
    wanted = [0 if one is None else places.get(one, 0) for one in values]
    assert vocabulary.find(pl.Series(values, dtype=pl.Int64)).tolist() == wanted
    as_text = Vocabulary("t", pl.Series(map(str, ids), dtype=pl.String))
    assert as_text.find(pl.Series(values, dtype=pl.Int64)).tolist() == wanted
