"""Prepares a table: fits its features, and writes a copy in the columns of a prepared folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from embeddings.names import table_names
from pipeline.data.prepare.writer import new_folder, version
from pipeline.data.schema import SPLITS, DenseFeature, Label, Schema, SparseFeature
from pipeline.data.schema import Table as SchemaTable
from pipeline.data.split_counts import Split, WeightSums
from pipeline.data.table.engine import Engine, LocalEngine, Progress
from pipeline.data.table.folder import TableFile, records, save_table
from pipeline.data.table.scan import Scan, scan
from pipeline.data.table.spec import TableSpec
from pipeline.data.table.table_rows import Table
from pipeline.features.config import FeatureConfig
from pipeline.features.fitted import Fitted
from pipeline.features.program import USER, WEIGHT, label_column, weights_column


def prepare_table(
    spec: TableSpec,
    out: Path,
    *,
    encode: Literal["once", "always"] = "once",
    overwrite: bool = False,
    engine: Engine | None = None,
    progress: Progress,
) -> Schema:
    """Write the prepared folder `out`, with the rows unless they are to be encoded always.

    `engine` reads and writes the rows (default: threads of this process). Memory: a few chunks, and
    the distinct values of vocabularies.

    Raises:
        UserError: `out` exists, a file is missing or damaged, a value is invalid.
    """
    engine = engine or LocalEngine()
    table = Table(spec)
    with new_folder(out, overwrite=overwrite) as folder:
        found, fitted = scan(table, engine, progress)
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
        save_table(folder, record, fitted, np.concatenate(found.rows))
        files: list[list[str]] = [[] for _ in SPLITS]
        if encode == "once":
            for split in SPLITS:
                (folder / split).mkdir()
            rows = np.stack([parts.sum(axis=0) for parts in found.rows])
            files = engine.write(table, fitted, folder, rows, progress)
        schema = _schema(spec, found, fitted, files)
        schema.save(folder)
    return schema


def _schema(spec: TableSpec, found: Scan, fitted: Fitted, files: list[list[str]]) -> Schema:
    sparse = {name: one for name, one in spec.features.items() if one.type != "number"}
    called = table_names(feature.table or name for name, feature in sparse.items())
    tables = {
        feature.table or name: _schema_table(feature, name, fitted, called)
        for name, feature in reversed(sparse.items())
    }
    rows = np.concatenate(found.rows).sum(axis=0)
    return Schema(
        dataset="table",
        program=fitted.digest(spec.features),
        made_by=f"homerec {version()} prepare table",
        user_column=None if spec.user is None else USER,
        weight_column=None if spec.weight is None else WEIGHT,
        sparse=tuple(
            SparseFeature(
                name=name,
                group=feature.group,
                table=called[feature.table or name],
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


def _schema_table(
    feature: FeatureConfig, name: str, fitted: Fitted, called: Mapping[str, str]
) -> SchemaTable:
    table = called[feature.table or name]
    if feature.ids.hash:
        return SchemaTable(name=table, vocab_size=feature.ids.hash + 1, unknown_rows=0)
    if feature.ids.quantiles:
        return SchemaTable(name=table, vocab_size=len(fitted.edges[name]) + 2, unknown_rows=0)
    vocabulary = fitted.vocabularies[feature.table or name]
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
