"""Writes a prepared folder (shards and schema) atomically.

Files are written to a hidden sibling of the target, which is renamed to the target when complete. A
failed run removes it. If the machine crashes, a hidden folder without schema.json remains, which is
not a valid prepared folder.
"""

from __future__ import annotations

import errno
import importlib.metadata
import math
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.data.schema import SPLIT, SPLITS, DenseFeature, Label, Schema, SparseFeature
from pipeline.data.schema import Table as SchemaTable
from pipeline.data.split_counts import Split
from pipeline.features.vocabulary import Vocabulary
from pipeline.io.errors import UserError
from pipeline.io.storage import exchange

# (steps done, total steps, description)
ProgressCallback = Callable[[int, int, str], None]


def no_progress(done: int, total: int, what: str) -> None:
    """Ignore progress."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the error is 'no space left', from Python, Arrow or Polars (which has no errno)."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left on device" in str(error) or "os error 28" in str(error)


@contextmanager
def new_folder(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` if the block succeeds, and is removed otherwise.

    With `overwrite`, an existing prepared folder `out` is kept until then. Raises UserError if
    `out` exists and must not be replaced, cannot be written, or the disk is full.
    """
    out = out.resolve()
    _check_target(out, overwrite=overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = out.parent / f".{out.name}.{secrets.token_hex(4)}.part"
        folder.mkdir()
    except OSError as error:
        raise UserError(f"{out}: cannot write there ({error.strerror}); choose another") from error
    try:
        yield folder
        _check_target(out, overwrite=overwrite)  # it may have been created in the meantime
        _commit(folder, out)
    except (OSError, pl.exceptions.PolarsError, pa.ArrowException) as error:
        if not is_disk_full(error):
            raise
        raise UserError(
            f"{out}: no space left on the disk; free some space or choose another disk"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_target(out: Path, *, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise UserError(f"{out}: already exists; choose another folder or pass --overwrite")
    # Runs and checkpoints also have a schema.json, but with a config.json.
    if not (out / "schema.json").is_file() or (out / "config.json").exists():
        raise UserError(f"{out}: not a prepared folder, so it is not overwritten; choose another")


def _commit(folder: Path, out: Path) -> None:
    """At once, so that a kill leaves the old folder or the new one; the other is `folder` then."""
    if out.exists() and exchange(folder, out):
        return
    old = folder.with_suffix(".old")
    if out.exists():
        out.rename(old)
    try:
        folder.rename(out)
    except BaseException:  # a signal, too
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def to_lists(lengths: NDArray[np.int64], values: NDArray[np.int64]) -> pa.ListArray:
    """Return list<int64> [R] from lengths [R] and concatenated values."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


class ShardWriter:
    """Writes shards to `folder` and records their statistics for the schema."""

    def __init__(
        self,
        folder: Path,
        *,
        sparse: Sequence[SparseFeature],
        dense: Sequence[str],
        labels: Sequence[Label],
        rows_per_group: int,
    ) -> None:
        self._folder = folder
        self._sparse, self._dense, self._labels = tuple(sparse), tuple(dense), tuple(labels)
        self._rows_per_group = rows_per_group
        oracles = [label.oracle for label in labels if label.oracle is not None]
        floats = [*dense, *(label.column for label in labels), *oracles]
        self._columns = pa.schema(
            [
                (feature.column, pa.list_(pa.int64()) if feature.multi else pa.int64())
                for feature in sparse
            ]
            + [(name, pa.float32()) for name in floats]
        )
        self._rows: dict[SPLIT, int] = dict.fromkeys(SPLITS, 0)
        self._files: dict[SPLIT, list[str]] = {split: [] for split in SPLITS}
        self._positives: dict[SPLIT, dict[str, int]] = {
            split: {label.name: 0 for label in labels} for split in SPLITS
        }
        self._missing: dict[SPLIT, dict[str, int]] = {
            split: {label.name: 0 for label in labels} for split in SPLITS
        }
        # count, sum and sum of squares of values in the train split
        self._moments = {name: np.zeros(3) for name in dense}
        for split in SPLITS:
            (folder / split).mkdir()

    def write(self, split: SPLIT, stem: str, columns: Mapping[str, Any]) -> None:
        """Write one shard, `split`/part-`stem`.parquet, from Arrow arrays (or NumPy's) by name.

        Its row groups have equal sizes, about `rows_per_group`.
        """
        table = pa.table(
            {name: columns[name] for name in self._columns.names},
        ).cast(self._columns)
        groups = max(1, round(table.num_rows / self._rows_per_group))
        name = f"{split}/part-{stem}.parquet"
        assert name not in self._files[split], name
        pq.write_table(
            table,
            self._folder / name,
            row_group_size=math.ceil(table.num_rows / groups),
            compression="zstd",
        )
        self._files[split].append(name)
        self._rows[split] += table.num_rows
        for label in self._labels:
            self._missing[split][label.name] += table[label.column].null_count
            positives = pc.sum(table[label.column]).as_py() or 0.0
            self._positives[split][label.name] += round(positives)
        if split == "train":
            for dense in self._dense:
                values = table[dense].drop_null().to_numpy().astype(np.float64)
                self._moments[dense] += (len(values), values.sum(), np.square(values).sum())

    def finish(
        self, *, dataset: str, command: str, user_column: str, vocabularies: Sequence[Vocabulary]
    ) -> Schema:
        """Write the vocabularies and finally schema.json. `command` is recorded in it."""
        (self._folder / "vocab").mkdir()
        for vocabulary in vocabularies:
            vocabulary.save(self._folder / "vocab")
        schema = Schema(
            dataset=dataset,
            made_by=f"homerec {version()} {command}",
            user_column=user_column,
            sparse=self._sparse,
            tables=tuple(
                SchemaTable(
                    name=vocabulary.name,
                    vocab_size=vocabulary.vocab_size,
                    fingerprint=vocabulary.fingerprint,
                )
                for vocabulary in vocabularies
            ),
            dense=tuple(_summarize(name, *moments) for name, moments in self._moments.items()),
            labels=self._labels,
            splits={
                split: Split(
                    rows=self._rows[split],
                    files=tuple(sorted(self._files[split])),
                    positives=self._positives[split],
                    missing=self._missing[split],
                )
                for split in SPLITS
            },
        )
        schema.save(self._folder)
        return schema


def version() -> str:
    try:
        return importlib.metadata.version("homerec")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _summarize(name: str, count: float, total: float, squares: float) -> DenseFeature:
    """Return mean and standard deviation; 1 for a constant column."""
    if count == 0:
        return DenseFeature(name=name, mean=0.0, std=1.0)
    mean = total / count
    variance = squares / count - mean * mean
    return DenseFeature(name=name, mean=mean, std=math.sqrt(variance) if variance > 1e-12 else 1.0)
