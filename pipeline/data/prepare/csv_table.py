"""A CSV file with declared column kinds becomes Parquet, or the line at fault is named.

Polars does the reading, streaming and fast. Only when it (or the check of the values) rejects the
file do we read it again line by line, slowly, to tell the user where the fault is.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import polars as pl

from pipeline.data.prepare.writer import is_disk_full
from pipeline.io.errors import UserError
from pipeline.io.files import check_no_other

# integer, flag and day are never empty; the others may be (null).
ColumnKind = Literal["integer", "flag", "day", "whole", "number", "date", "text"]

_DTYPES: dict[ColumnKind, type[pl.DataType]] = {
    "integer": pl.Int64,
    "flag": pl.Int8,
    "day": pl.Int32,
    "whole": pl.Float64,
    "number": pl.Float64,
    "date": pl.String,
    "text": pl.String,
}
_EXPECTED: dict[ColumnKind, str] = {
    "integer": "a whole number",
    "flag": "0 or 1",
    "day": "a day as YYYYMMDD",
    "whole": "a whole number (4 or 4.0) or empty",
    "number": "a number or empty",
    "date": "a date as YYYY-MM-DD or empty",
    "text": "UTF-8 text",
}


def csv_to_parquet(path: Path, kinds: Mapping[str, ColumnKind], out: Path) -> None:
    """Write the columns in `kinds` of the CSV file `path` to the Parquet file `out`.

    Streams the file: memory does not depend on its size. Other columns and empty lines are skipped.
    Raises UserError for a missing column, or a value of the wrong kind (with its line).
    """
    _check_header(path, kinds)
    dtypes = {name: _DTYPES[kind] for name, kind in kinds.items()}
    try:
        table = pl.scan_csv(path, schema_overrides=dtypes, infer_schema=False).select(list(kinds))
        # Polars reads an empty line as a row of nulls.
        table.filter(~pl.all_horizontal(pl.all().is_null())).sink_parquet(out)
    except pl.exceptions.PolarsError as error:
        if is_disk_full(error):
            raise
        raise _first_fault(path, kinds, str(error)) from error
    wrong = pl.any_horizontal(_is_wrong(name, kind) for name, kind in kinds.items())
    found = pl.scan_parquet(out).filter(wrong).head(1).collect(engine="streaming")
    if not found.is_empty():
        raise _first_fault(path, kinds, "a value does not fit its column")


def _is_wrong(name: str, kind: ColumnKind) -> pl.Expr:
    column = pl.col(name)
    if kind == "integer":
        return column.is_null()
    if kind == "flag":
        return column.is_null() | ~column.is_in([0, 1])
    if kind == "day":
        return column.cast(pl.String).str.to_date("%Y%m%d", strict=False).is_null()
    if kind == "whole":  # beyond 2**53 a float may differ from the number in the file
        return (column.is_not_null() & (column != column.round())) | (column.abs() >= 2**53)
    if kind == "number":
        return column.is_infinite()
    if kind == "date":
        return column.is_not_null() & column.str.to_date("%Y-%m-%d", strict=False).is_null()
    return pl.lit(False)


def _check_header(path: Path, kinds: Mapping[str, ColumnKind]) -> None:
    check_no_other(path)
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            header = next(csv.reader(file), [])
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV file ({error}); download it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    missing = [name for name in kinds if name not in header]
    if missing:
        raise UserError(
            f"{path}: line 1: no column {', '.join(missing)}; the file must be comma-separated "
            "and start with the original header"
        )


def _first_fault(path: Path, kinds: Mapping[str, ColumnKind], reason: str) -> UserError:
    """Return the error for the first bad line."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        lines = csv.reader(file)
        header = next(lines)
        columns = [(header.index(name), name, kind) for name, kind in kinds.items()]
        try:
            for fields in lines:
                where = f"{path}: line {lines.line_num}"
                if not fields:
                    continue
                if len(fields) != len(header):
                    return UserError(
                        f"{where}: {len(fields)} fields, but the header has {len(header)}; "
                        "correct or remove the line"
                    )
                for position, name, kind in columns:
                    if not _fits(fields[position], kind):
                        return UserError(
                            f"{where}: column {name}: {fields[position]!r} is not "
                            f"{_EXPECTED[kind]}; correct or remove the line"
                        )
        except csv.Error as error:
            return UserError(f"{path}: line {lines.line_num}: not CSV ({error}); correct the line")
    first_line = reason.strip().splitlines()[0]
    return UserError(f"{path}: not readable as CSV ({first_line}); download it again")


def _fits(value: str, kind: ColumnKind) -> bool:
    try:
        if kind == "integer":
            return -(2**63) <= int(value) < 2**63
        if kind == "flag":
            return int(value) in (0, 1)
        if kind == "day":
            return len(value) == 8 and bool(datetime.strptime(value, "%Y%m%d"))
        if kind == "text":
            return "\ufffd" not in value  # replacement of bytes that are not UTF-8
        if value == "":
            return True
        if kind == "date":
            return bool(datetime.strptime(value, "%Y-%m-%d"))
        number = float(value)
        return not math.isinf(number) and (kind == "number" or number.is_integer())
    except ValueError:
        return False
