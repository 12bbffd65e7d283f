"""Loads table statistics from a file, or counts them in a prepared folder or Parquet files."""

from __future__ import annotations

from pathlib import Path

from embeddings.planner.inputs.table_stats import TableStats, load_table_stats
from pipeline.data.schema import Schema
from pipeline.io.errors import UserError
from pipeline.planning.collect_table_stats import collect_table_stats
from pipeline.planning.id_columns import Fold
from pipeline.planning.sources import Source

_FILES = (".json", ".yaml", ".yml")


def open_table_stats(data: Path, source: Source, *, fold: bool) -> TableStats:
    """Read statistics, or count them in `data`: a Parquet file, or a folder of them.

    For a prepared folder, counts the training split. For a run, ids are mapped to table rows as in
    training. `fold`: for a table list, take ids modulo the rows of a table. Raises UserError in one
    line.
    """
    if data.suffix in _FILES:
        try:
            return load_table_stats(data)
        except ValueError as error:
            raise UserError(str(error)) from error
    if source.schema is None:
        folds = {
            table.name: Fold(known=0, rest=table.rows) if fold else Fold(known=table.rows, rest=0)
            for table in source.tables
        }
        return collect_table_stats(_files(data), source.tables, folds, str(data))
    if fold:
        raise UserError("--fold: a run has its own hash rows (embeddings.hash_rows); remove it")
    schema = source.schema.with_splits_of(Schema.load(data), data)
    folds = {
        table.name: Fold(
            known=schema.table(table.name).vocab_size,
            rest=source.hash_rows[table.name],
            null=0,
            remedy="set --embeddings.hash_rows"
            if schema.table(table.name).unknown_rows is None
            else "give it more unknown_rows in schema.json",
        )
        for table in source.tables
    }
    return collect_table_stats(_split(data, schema), source.tables, folds, str(data))


def _files(data: Path) -> list[Path]:
    """Return all Parquet files of a folder; for a prepared folder, those of the training split."""
    if data.is_file():
        return [data]
    if not data.is_dir():
        raise UserError(
            f"{data}: no such file or folder; give Parquet files or a file of 'plan table-stats'"
        )
    if (data / "schema.json").is_file():
        return _split(data, Schema.load(data))
    found = sorted(data.rglob("*.parquet"))
    if not found:
        raise UserError(f"{data}: contains no .parquet file; give a folder with Parquet files")
    return found


def _split(folder: Path, schema: Schema) -> list[Path]:
    files = schema.splits["train"].files
    if not files:
        raise UserError(f"{folder}: split 'train' has no rows; prepare the folder again with some")
    return [folder / name for name in files]
