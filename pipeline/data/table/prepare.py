"""Prepares a table: fits its features, and writes a copy in the columns of a prepared folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.prefetch import in_order
from pipeline.data.prepare.writer import new_folder, version
from pipeline.data.schema import SPLITS, DenseFeature, Label, Schema, SparseFeature
from pipeline.data.schema import Table as SchemaTable
from pipeline.data.split_counts import Split, WeightSums
from pipeline.data.table.encoded import column_types, encode_chunk
from pipeline.data.table.folder import TableFile, records, save_table
from pipeline.data.table.scan import WORKERS, Progress, Scan, scan
from pipeline.data.table.spec import TableSpec
from pipeline.data.table.table_rows import Table
from pipeline.features.config import FeatureConfig
from pipeline.features.fitted import Fitted
from pipeline.features.program import USER, WEIGHT, label_column, weights_column

GROUPS_PER_FILE = 64


def prepare_table(
    spec: TableSpec,
    out: Path,
    *,
    encode: Literal["once", "always"] = "once",
    overwrite: bool = False,
    progress: Progress,
) -> Schema:
    """Write the prepared folder `out`, with the rows unless they are to be encoded always.

    Memory: a few chunks, and the distinct values of vocabularies.

    Raises:
        UserError: `out` exists, a file is missing or damaged, a value is invalid.
    """
    table = Table(spec)
    with new_folder(out, overwrite=overwrite) as folder:
        found, fitted = scan(table, progress)
        record = TableFile(
            encode=encode,
            spec=spec,
            files=records(table.source.files),
            side_files=records(table.source.side_files),
            standards={name: (one.mean, one.std) for name, one in fitted.standards.items()},
            edges={name: tuple(one.tolist()) for name, one in fitted.edges.items()},
            tables=tuple(fitted.vocabularies),
            bad_rows=found.num_bad,
            faults=tuple(map(str, found.faults)),
        )
        save_table(folder, record, fitted, np.stack(found.rows))
        files: list[list[str]] = [[] for _ in SPLITS]
        if encode == "once":
            files = _write_rows(table, fitted, folder, progress)
        schema = _schema(spec, found, fitted, files)
        schema.save(folder)
    return schema


def _write_rows(table: Table, fitted: Fitted, folder: Path, progress: Progress) -> list[list[str]]:
    """Write all rows; returns the files of each split."""
    writers = [SplitWriter(folder, split, table) for split in SPLITS]
    done = 0
    tasks = (partial(encode_chunk, table, fitted, index) for index in range(len(table.chunks)))
    for chunk, parts in zip(table.chunks, in_order(tasks, WORKERS), strict=True):
        for writer, part in zip(writers, parts, strict=True):
            writer.add(part)
        done += chunk.rows
        progress(done, table.rows, "encoding")
    return [writer.close() for writer in writers]


class SplitWriter:
    """Writes the rows of a split as row groups of equal size, `GROUPS_PER_FILE` a file."""

    def __init__(self, folder: Path, split: str, table: Table) -> None:
        self._folder = folder
        self._split = split
        self._schema = pa.schema(column_types(table))
        self._size = table.spec.rows_per_group
        self._pending: list[pa.Table] = []
        self._num_pending = 0
        self._groups = 0
        self._files: list[str] = []
        self._writer: pq.ParquetWriter | None = None
        (folder / split).mkdir()

    def add(self, rows: pa.Table) -> None:
        """Append rows."""
        self._pending.append(rows)
        self._num_pending += len(rows)
        while self._num_pending >= self._size:
            self._write(self._size)

    def close(self) -> list[str]:
        """Write the rest; returns the names of the files."""
        if self._num_pending:
            self._write(self._num_pending)
        if self._writer is not None:
            self._writer.close()
        return self._files

    def _write(self, size: int) -> None:
        rows = pa.concat_tables(self._pending)
        if self._writer is None:
            name = f"{self._split}/part-{len(self._files):05}.parquet"
            self._files.append(name)
            self._writer = pq.ParquetWriter(self._folder / name, self._schema, compression="zstd")
        # Compact, so that the bytes of a file do not depend on how its rows came.
        self._writer.write_table(rows.slice(0, size).combine_chunks(), row_group_size=size)
        self._groups += 1
        if self._groups % GROUPS_PER_FILE == 0:
            self._writer.close()
            self._writer = None
        rest = rows.slice(size)
        self._pending, self._num_pending = [rest] if len(rest) else [], len(rest)


def _schema(spec: TableSpec, found: Scan, fitted: Fitted, files: list[list[str]]) -> Schema:
    sparse = {name: one for name, one in spec.features.items() if one.type != "number"}
    tables = {
        feature.table or name: _schema_table(feature, name, fitted)
        for name, feature in reversed(sparse.items())
    }
    rows = np.stack(found.rows).sum(axis=0)
    return Schema(
        dataset="table",
        made_by=f"homerec {version()} prepare table",
        user_column=None if spec.user is None else USER,
        weight_column=None if spec.weight is None else WEIGHT,
        sparse=tuple(
            SparseFeature(
                name=name,
                group=feature.group,
                table=feature.table or name,
                multi=feature.type != "id",
                pooling=None if feature.type == "id" else feature.pooling,
                weights=weights_column(name) if feature.type == "weighted_ids" else None,
            )
            for name, feature in sparse.items()
        ),
        tables=tuple(tables[name] for name in reversed(tables)),
        dense=tuple(
            _dense(name, feature, fitted)
            for name, feature in spec.features.items()
            if feature.type == "number"
        ),
        labels=tuple(
            Label(
                name=task,
                column=label_column(task),
                category=label.category,
                default=label.default,
            )
            for task, label in spec.labels.items()
        ),
        splits={
            split: Split(
                rows=int(rows[index]),
                files=tuple(files[index]),
                positives={task: one[index].positives for task, one in found.labels.items()},
                missing={task: one[index].missing for task, one in found.labels.items()},
                weights=None if spec.weight is None else _weight_sums(found, index),
            )
            for index, split in enumerate(SPLITS)
        },
    )


def _weight_sums(found: Scan, split: int) -> WeightSums:
    labels = {task: one[split] for task, one in found.labels.items()}
    return WeightSums(
        rows=found.weights[split].total,
        positives={task: one.positive_weights.total for task, one in labels.items()},
        missing={task: one.missing_weights.total for task, one in labels.items()},
    )


def _schema_table(feature: FeatureConfig, name: str, fitted: Fitted) -> SchemaTable:
    table = feature.table or name
    if feature.ids.hash:
        return SchemaTable(name=table, vocab_size=feature.ids.hash + 1, unknown_rows=0)
    if feature.ids.quantiles:
        return SchemaTable(name=table, vocab_size=len(fitted.edges[name]) + 2, unknown_rows=0)
    vocabulary = fitted.vocabularies[table]
    return SchemaTable(
        name=table,
        vocab_size=vocabulary.vocab_size,
        fingerprint=vocabulary.fingerprint,
        unknown_rows=feature.ids.unknown_rows,
    )


def _dense(name: str, feature: FeatureConfig, fitted: Fitted) -> DenseFeature:
    one = fitted.standards[name]
    if "standardise" in feature.transform:
        return DenseFeature(name=name, mean=one.mean, std=one.std)
    return DenseFeature(name=name, mean=0.0, std=1.0)
