"""Opens files by their format."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from pipeline.data.sources.arrow_reader import ArrowReader
from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.files import FileReader, SourceFile
from pipeline.data.sources.in_threads import in_threads
from pipeline.data.sources.parquet_reader import ParquetReader
from pipeline.data.sources.text.csv_dialect import Dialect, find_dialect, looks_like_csv
from pipeline.data.sources.text.csv_reader import CsvReader
from pipeline.data.sources.text.json_reader import JsonReader
from pipeline.data.sources.text.text_file import COMPRESSIONS, TextFile
from pipeline.data.sources.unnamed import with_names
from pipeline.io.errors import UserError

_ENDINGS = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".tsv", ".txt"),
    "arrow": (".arrow", ".feather", ".ipc"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
}
_MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow"}
_JSON = re.compile(rb"\s*(\[\s*)?\{")
"""An object, or an array of them, which JsonReader refuses in words."""
_HTML = re.compile(rb"\s*<(!doctype|html|\?xml)\b", re.IGNORECASE)
_START_BYTES = 64


def open_readers(files: Sequence[SourceFile], config: FilesConfig) -> list[FileReader]:
    """Open all files. Raises UserError if a file is damaged or its format unknown.

    CSV files have one separator, and all or none of them have a header, as in the first one.
    """
    formats = formats_of(files, config.format)
    dialect = None
    for file, format in zip(files, formats, strict=True):
        if format == "csv" and dialect is None:
            dialect = find_dialect(TextFile(file), config)
    common = dialect or Dialect(config.separator or ",", bool(config.header))
    readers = in_threads(
        lambda pair: _open(*pair, config, common), list(zip(files, formats, strict=True))
    )
    _check_repeated(files, readers)
    return readers


def _open(file: SourceFile, format: str, config: FilesConfig, dialect: Dialect) -> FileReader:
    if format == "parquet":
        return with_names(file.name, ParquetReader(file))
    if format == "arrow":
        return with_names(file.name, ArrowReader(file))
    if format == "jsonl":
        return with_names(file.name, JsonReader(file))
    return CsvReader(file, dialect, config.names, config.null_values)


def _check_repeated(files: Sequence[SourceFile], readers: Sequence[FileReader]) -> None:
    """Columns of one name have numbers by their order, which has to be the same in all files."""
    pairs = [pair for pair in zip(files, readers, strict=True) if pair[1].schema]
    for file, reader in pairs:
        if isinstance(reader, CsvReader) and reader.repeated is not None:
            for other, another in pairs:
                if list(another.schema) != list(reader.schema):
                    raise UserError(
                        f"{file.name}: several columns are named {reader.repeated!r}, and "
                        f"{other.name} has other columns or another order; rename all but one, or "
                        "write all files with the same header"
                    )
            return


def formats_of(files: Sequence[SourceFile], format: str) -> list[str]:
    """Return the format of each file; if `format` is auto by its name, else by its first bytes.

    An empty file without a known ending, as of an empty partition of Spark, is of the first format
    found, or CSV. Raises UserError for a file of no known format.
    """
    found = [_format_of(file, format) for file in files]
    first = next((each for each in found if each is not None), "csv")
    return [each or first for each in found]


def _format_of(file: SourceFile, format: str) -> str | None:
    if file.table_schema is not None:
        return "parquet"
    if format != "auto":
        return format
    name = file.name.lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    for each, endings in _ENDINGS.items():
        if name.endswith(endings):
            return each
    text = TextFile(file)
    start = next(text.blocks(0, _START_BYTES), b"")
    if len(start) < _START_BYTES and not start.strip():
        return None
    if found := _by_content(text, start):
        return found
    known = " ".join(ending for endings in _ENDINGS.values() for ending in endings)
    raise UserError(
        f"{file.name}: unknown format; set format, or a pattern such as '*.csv' for the files of "
        f"the table (known: {known}, compressed text with {' '.join(COMPRESSIONS)})"
    )


def _by_content(text: TextFile, start: bytes) -> str | None:
    """Return the format that the first bytes are of, as of adult.data and part-00000."""
    for magic, format in _MAGIC.items():
        if start.startswith(magic):
            return format
    start = start.removeprefix(codecs.BOM_UTF8)
    if _JSON.match(start):
        return "jsonl"
    return "csv" if not _HTML.match(start) and looks_like_csv(text) else None
