"""Writes the embedding tables of a checkpoint as files that map into memory."""

from __future__ import annotations

from pathlib import Path

from pipeline.config.tree import Config
from pipeline.data.table.folder import TableFile
from pipeline.export.saved_model import SavedModel
from pipeline.io.errors import UserError
from pipeline.scoring.manifest import TableRecord, TableType
from pipeline.scoring.tables import pack_rows
from pipeline.training.resolve_features import Selection

FOLDER = "tables"


def write_tables(
    model: Path,
    saved: SavedModel,
    config: Config,
    chosen: Selection,
    kind: TableType,
    record: TableFile | None,
) -> tuple[TableRecord, ...]:
    """Write one file per table, block by block. Raises UserError if a table has another shape."""
    (model / FOLDER).mkdir()
    hash_rows = chosen.schema.hash_rows(config.embeddings.hash_rows)
    hashed = _hashed_tables(record)
    written = []
    for number, table in enumerate(chosen.tables):
        if saved.table_size(table.name) != (table.rows, table.dim):
            found = " x ".join(map(str, saved.table_size(table.name)))
            raise UserError(
                f"{saved.folder}: table {table.name!r} is {found}, its configuration says "
                f"{table.rows} x {table.dim}; export another checkpoint"
            )
        file = f"{FOLDER}/{number}.{kind}"
        with (model / file).open("wb") as stream:
            for block in saved.blocks(table.name):
                stream.write(pack_rows(block, kind).numpy().data)
        written.append(
            TableRecord(
                name=table.name,
                file=file,
                type=kind,
                rows=table.rows,
                dim=table.dim,
                vocab_size=chosen.schema.table(table.name).vocab_size,
                hash_rows=hash_rows[table.name],
                program_rows=hashed.get(table.name),
                unpooled=table.unpooled,
            )
        )
    return tuple(written)


def _hashed_tables(record: TableFile | None) -> dict[str, int]:
    """Return the rows of the tables whose ids the feature program hashes."""
    if record is None:
        return {}
    features = record.spec.features.items()
    return {one.table or name: one.ids.hash for name, one in features if one.ids.hash}
