"""Vocabularies: map raw ids to indices of an embedding table.

Index 0 is 'missing', 1 to vocab_size - 1 are the ids of the vocabulary (most frequent first), and
any other id becomes vocab_size plus its 62-bit hash. The hash is part of the format: it is
implemented here, because a library's hash may change between versions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from polars._typing import PolarsDataType

from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError
from pipeline.io.parquet_input import open_input, read_footer

_FAR = 4
"""Whole numbers per id from which on ids are searched for instead of looked up."""


def hash_integers(ids: IntArray) -> IntArray:
    """Return 62 bits of splitmix64 (Steele et al., OOPSLA 2014) of each id."""
    mixed = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(2)).astype(np.int64)


def hash_text(text: str) -> int:
    """Return 62 bits of BLAKE2b of the UTF-8 bytes, for the few text categories."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 2


@dataclass(frozen=True)
class Vocabulary:
    """Ids of one table. `ids` is Int64 or String, without nulls; ids[i] has index i + 1."""

    name: str
    ids: pl.Series

    @staticmethod
    def from_counts(
        name: str, counts: pl.DataFrame, min_count: int, max_size: int = 0
    ) -> Vocabulary:
        """Keep the ids counted at least `min_count` times, at most `max_size` (0: all).

        `counts` has columns id (null is dropped) and count; an id may occur several times.
        """
        kept = (
            counts.drop_nulls("id")
            .group_by("id")
            .agg(pl.col("count").sum())
            .filter(pl.col("count") >= min_count)
            .sort("count", "id", descending=[True, False])
        )
        return Vocabulary(name, kept["id"].head(max_size) if max_size else kept["id"])

    @property
    def vocab_size(self) -> int:
        return len(self.ids) + 1

    @cached_property
    def fingerprint(self) -> str:
        """Digest that is equal for vocabularies with the same index for every id."""
        digest = hashlib.blake2b(digest_size=16)
        for part in self.ids.cast(pl.String).to_frame("id").iter_slices(1_000_000):
            digest.update(part["id"].str.join("\0").item().encode() + b"\0")
        return digest.hexdigest()

    @staticmethod
    def load(folder: Path, name: str, dtype: PolarsDataType) -> Vocabulary:
        """Load a file of `save`; `dtype` is the type of the ids to encode.

        Raises UserError if it does not exist, is damaged, or has another type.
        """
        path = folder / f"{name}.parquet"
        try:
            return Vocabulary(name, pl.Series(_read_ids(path)).cast(dtype))
        except FileNotFoundError as error:
            raise UserError(f"{path}: no such vocabulary; give a prepared folder") from error
        except (pa.ArrowException, OSError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{path}: not a vocabulary of this data: {reason}") from error

    def encode(self, values: pl.Series) -> IntArray:
        """Return indices of `values` [N] (the dtype of `ids`), [N]; null becomes 0."""
        if self.ids.dtype == pl.Int64:
            index = self._encode_integers(values)
        else:
            index = self._encode_text(values)
        return np.where(values.is_null().to_numpy(), 0, index)

    def _encode_integers(self, values: pl.Series) -> IntArray:
        found = self.find(values)
        hashes = hash_integers(values.fill_null(0).to_numpy())
        return np.where(found > 0, found, self.vocab_size + hashes)

    def _encode_text(self, values: pl.Series) -> IntArray:
        index = {value: i for i, value in enumerate(self.ids, start=1)}
        distinct = values.drop_nulls().unique()
        known = [index.get(value, self.vocab_size + hash_text(value)) for value in distinct]
        return values.replace_strict(distinct, known, default=0, return_dtype=pl.Int64).to_numpy()

    def find(self, values: pl.Series) -> IntArray:
        """Return the index of each value, 0 if it is missing or unknown.

        `values` are text, or Int64, which also stand for their text.
        """
        if values.dtype != pl.Int64:
            physical = values.cast(self._enum, strict=False).to_physical()
            return physical.cast(pl.Int64).fill_null(-1).to_numpy() + 1
        ids, index = self._sorted
        if not len(ids):
            return np.zeros(len(values), dtype=np.int64)
        wanted = (values.fill_null(0) if values.null_count() else values).to_numpy()
        if self._by_id is not None:
            # Unsigned, so that ids below the lowest are beyond the highest, too.
            offsets = wanted.view(np.uint64) - ids[:1].view(np.uint64)
            places = np.minimum(offsets, np.uint64(len(self._by_id) - 1))
            found = self._by_id[places].astype(np.int64)
        else:
            order = np.argsort(wanted)  # a search for sorted ids is several times as fast
            place = np.empty(len(wanted), dtype=np.int64)
            place[order] = np.searchsorted(ids, wanted[order]).clip(max=len(ids) - 1)
            found = np.where(ids[place] == wanted, index[place], 0)
        return np.where(values.is_null().to_numpy(), 0, found) if values.null_count() else found

    @cached_property
    def _enum(self) -> pl.Enum:
        """A type of text whose physical values are indices - 1; casts look ids up."""
        return pl.Enum(self.ids)

    @cached_property
    def _sorted(self) -> tuple[IntArray, IntArray]:
        """Ids that are whole numbers, or their text, ascending, and their indices."""
        numbers = self.ids.cast(pl.Int64, strict=False)
        same = numbers.cast(pl.String) == self.ids.cast(pl.String)
        places = same.fill_null(False).arg_true().to_numpy()
        ids = numbers.gather(places).to_numpy()
        order = np.argsort(ids, kind="stable")
        return ids[order], places[order].astype(np.int64) + 1

    @cached_property
    def _by_id(self) -> NDArray[np.int32] | None:
        """Index of each whole number from the lowest id on, then 0; None if they lie far apart."""
        ids, index = self._sorted
        span = int(ids[-1]) - int(ids[0]) + 1
        if span > _FAR * len(ids):
            return None
        found = np.zeros(span + 1, dtype=np.int32)
        found[ids - ids[0]] = index
        return found

    def save(self, folder: Path) -> None:
        """Write `folder`/NAME.parquet with columns id (string) and index (int64)."""
        index = pl.int_range(1, len(self.ids) + 1, dtype=pl.Int64, eager=True).alias("index")
        table = pl.DataFrame({"id": self.ids.cast(pl.String)}).with_columns(index)
        table.write_parquet(folder / f"{self.name}.parquet")


def _read_ids(path: Path) -> pa.ChunkedArray:
    """Read column 'id' as text. Not with Polars, which panics on damaged files.

    Raises OSError and ArrowException.
    """
    footer = read_footer(path)
    if footer.schema.to_arrow_schema().names.count("id") != 1:
        raise pa.ArrowInvalid("no column 'id'")
    with open_input(path) as file, pq.ParquetFile(file, metadata=footer) as parquet:
        ids = parquet.read(columns=["id"])["id"]
    ids.validate(full=True)
    if ids.null_count:
        raise pa.ArrowInvalid("an id is null")
    return ids.cast(pa.large_string())
