"""The files that a prepared folder of a table has beside its schema.

DIR/table.json            the table's specification, its files, fitted numbers, bad rows
DIR/chunks.parquet        rows of each split by part of the files, such as a row group
DIR/vocab/TABLE.parquet   vocabularies
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import ValidationError

from embeddings.frozen import Frozen
from pipeline.data.schema import SPLITS
from pipeline.data.sources.files import Chunk, SourceFile
from pipeline.data.table.spec import TableSpec
from pipeline.features.fitted import Fitted, Standard
from pipeline.features.vocabulary import Vocabulary
from pipeline.io.errors import UserError
from pipeline.io.files import read_text, write_text
from pipeline.io.typed_json import Count, fault

NAME = "table.json"
_REMEDY = "prepare the folder again"


class FileRecord(Frozen):
    """A file of the table."""

    name: str
    size: Count


class TableFile(Frozen):
    """The content of table.json."""

    version: Literal[1] = 1
    encode: Literal["once", "always"]
    spec: TableSpec
    files: tuple[FileRecord, ...]
    side_files: tuple[FileRecord, ...] = ()
    standards: Mapping[str, tuple[float, float]]
    edges: Mapping[str, tuple[float, ...]]
    tables: tuple[str, ...]
    """Tables with a vocabulary."""
    bad_rows: Count = 0
    faults: tuple[str, ...] = ()
    """The first bad values."""

    def fitted(self, folder: Path) -> Fitted:
        """Return the fitted values. Raises UserError if a vocabulary is missing or damaged."""
        return Fitted(
            {name: Vocabulary.load(folder / "vocab", name, pl.String) for name in self.tables},
            {name: np.array(one, dtype=np.float32) for name, one in self.edges.items()},
            {name: Standard(*one) for name, one in self.standards.items()},
        )


def records(files: Sequence[SourceFile]) -> tuple[FileRecord, ...]:
    """Return names and sizes of files."""
    return tuple(FileRecord(name=file.name, size=file.size) for file in files)


def save_table(folder: Path, found: TableFile, fitted: Fitted, rows: NDArray[np.int64]) -> None:
    """Write the files. `rows`: rows of each split by part, [parts, 3]."""
    (folder / "vocab").mkdir()
    for vocabulary in fitted.vocabularies.values():
        vocabulary.save(folder / "vocab")
    pl.DataFrame(rows, schema=list(SPLITS)).write_parquet(folder / "chunks.parquet")
    write_text(folder / NAME, found.model_dump_json(indent=1) + "\n")


def load_table(folder: Path) -> TableFile | None:
    """Read table.json; None if there is none. Raises UserError if it is damaged."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        return TableFile.model_validate_json(read_text(path, remedy=_REMEDY))
    except ValidationError as error:
        raise UserError(f"{path}: {fault(error)}; {_REMEDY}") from error


def load_chunk_rows(folder: Path, chunks: Sequence[Chunk]) -> NDArray[np.int64]:
    """Read the rows of each split by chunk, [chunks, 3]."""
    path = folder / "chunks.parquet"
    try:
        rows = pl.read_parquet(path).select(SPLITS).to_numpy()
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read ({reason}); {_REMEDY}") from error
    ends = np.cumsum([len(chunk.part_rows) for chunk in chunks])
    if len(rows) != ends[-1]:
        raise UserError(
            f"{path}: has {len(rows)} parts, but the table's files have {ends[-1]}; {_REMEDY}"
        )
    return np.add.reduceat(rows.astype(np.int64), [0, *ends[:-1]])


def changed_files(
    before: Sequence[FileRecord], now: Sequence[FileRecord], what: str = "table"
) -> str | None:
    """Return what has changed between two lists of files, in one phrase; None if nothing has."""
    old, new = ({one.name: one.size for one in files} for files in (before, now))
    for name in new:
        if name not in old:
            return f"{name} has been added to the {what}"
    for name in old:
        if name not in new:
            return f"{name} is not part of the {what} any more"
        if old[name] != new[name]:
            return f"{name} has {new[name]} bytes, not {old[name]}"
    if list(old) != list(new):
        return f"the files of the {what} are in another order"
    return None
