"""Files of Delta tables, listed by the package `deltalake` and read as Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from pipeline.data.sources.files import SourceFile, first_line
from pipeline.data.sources.stores import Store, endpoint
from pipeline.io.errors import UserError

LOG = "_delta_log"
_PARTITION = "partition."
_READABLE = {
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "deletionVectors",  # as long as there is none
    "columnMapping",  # as long as it is off
}


def delta_files(store: Store, prefix: str, folder: str) -> Iterator[SourceFile]:
    """Return the files of the newest version of a Delta table.

    Raises UserError if there is no table, the package is missing, or the table has deletion
    vectors, mapped columns or other features that its files do not show.
    """
    name = prefix + folder
    try:
        import deltalake
        import deltalake.exceptions
    except ImportError as error:
        raise UserError(
            f"{name}: Delta tables need the package deltalake; pip install 'homerec[delta]'"
        ) from error
    options = {"allow_http": "true"} if (endpoint() or "").startswith("http://") else {}
    try:
        table = deltalake.DeltaTable(name, storage_options=options)
        _check_features(name, table)
        actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
        schema = pa.schema(table.schema().to_arrow())
    except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{name}: not a Delta table that can be read ({first_line(error)}); check the path"
        ) from error
    for action in actions:
        path = unquote(action["path"])
        if "://" in path or path.startswith("/"):
            raise UserError(f"{name}: its file {path} is elsewhere; copy the table instead")
        partitions = {
            key.removeprefix(_PARTITION): value
            for key, value in action.items()
            if key.startswith(_PARTITION)
        }
        yield SourceFile(
            f"{name}/{path}",
            action["size_bytes"],
            store,
            f"{folder}/{path}",
            {key: None if value is None else str(value) for key, value in partitions.items()},
            dict(zip(schema.names, schema.types, strict=True)),
        )


def _check_features(name: str, table: Any) -> None:
    features = set(table.protocol().reader_features or ())
    if unknown := sorted(features - _READABLE):
        raise UserError(
            f"{name}: the Delta feature {unknown[0]} cannot be read; write the table as Parquet"
        )
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        raise UserError(
            f"{name}: Delta tables with mapped columns cannot be read; write it as Parquet"
        )
    if "deletionVectors" in features and pa.table(table.deletion_vectors()).num_rows:
        raise UserError(
            f"{name}: Delta tables with deletion vectors cannot be read; run REORG TABLE ... "
            "APPLY (PURGE)"
        )
