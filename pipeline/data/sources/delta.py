"""Files of Delta tables, listed by the package `deltalake`; they are read as Parquet."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.data.sources.files import SourceFile
from pipeline.data.sources.stores import Store
from pipeline.io.errors import UserError

LOG = "_delta_log"


def delta_files(store: Store, prefix: str, folder: str) -> Iterator[SourceFile]:
    """Return the files of a Delta table. Raises UserError if it cannot be read."""
    raise UserError(f"{prefix}{folder}: Delta tables cannot be read yet; write Parquet files")
    yield
