"""JSON lines: a part is about 16 MB of lines; the types are those of all values in the file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from pipeline.data.sources.files import SourceFile, first_line
from pipeline.data.sources.text.parts import Bytes, Part, cut, line_ends, rows_between
from pipeline.data.sources.text.text_file import TextFile
from pipeline.data.sources.unify import canonical, describe, unify
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError

_PLACE = re.compile(r"Column\(/([^)/]*)[^)]*\).* in row (\d+)")
_ROW = re.compile(r"in row (\d+)")
_EXACT = 2.0**53


class JsonReader:
    """A file with a JSON object in each line. Empty lines are skipped; missing keys are null."""

    def __init__(self, file: SourceFile) -> None:
        """Reads the whole file, since any line may change the type of a column. Raises UserError
        for a line that is no object, or a value whose type differs from those before."""
        self._text = TextFile(file)
        self._parts: list[Part] = []
        types: dict[str, pa.DataType] = {}
        for part, data in cut(self._text, 0, 1, line_ends, _count):
            self._parts.append(part)
            if part.rows:
                self._add_types(types, part, data)
        self.schema: Mapping[str, pa.DataType] = types

    def rows(self) -> list[int]:
        """Return the number of rows of each part."""
        return [part.rows for part in self._parts]

    def _add_types(self, types: dict[str, pa.DataType], part: Part, data: bytes) -> None:
        table = self._parse(part, data, None)
        for name, column in zip(table.column_names, table.columns, strict=True):
            kind = _exact_type(column, data, name)
            before = types.get(name)
            merged = kind if before is None else _merge(before, kind)
            if merged is None:
                assert before is not None
                raise self._changed(part, data, name, describe(canonical(before) or before))
            types[name] = merged

    def sizes(self) -> None:
        """Parts are read one by one."""

    def read(self, parts: range, columns: Sequence[str]) -> pa.Table:
        """Read columns of a part."""
        (part,) = parts
        found = self._parts[part]
        data = self._text.read(found.start, found.size)
        schema = pa.schema([(name, _with_values(self.schema[name])) for name in columns])
        if not found.rows:
            return schema.empty_table()
        return self._parse(found, data, schema).select(list(columns))

    def line(self, part: int, row: int) -> int:
        """Return the line of a row, from 1."""
        found = self._parts[part]
        return self._line(found, self._text.read(found.start, found.size), row)

    def _line(self, part: Part, data: bytes, row: int) -> int:
        array = np.frombuffer(data, dtype=np.uint8)
        start = int(_rows(array, line_ends(array))[0][row])
        return part.first_line + len(line_ends(array[:start]))

    def _parse(self, part: Part, data: bytes, schema: pa.Schema | None) -> pa.Table:
        try:
            data.decode()
            table = pa.json.read_json(
                pa.BufferReader(data),
                read_options=pa.json.ReadOptions(block_size=len(data) + 1, use_threads=False),
                parse_options=pa.json.ParseOptions(
                    explicit_schema=schema,
                    unexpected_field_behavior="infer" if schema is None else "ignore",
                ),
            )
        except UnicodeDecodeError as error:
            line = part.first_line + data.count(b"\n", 0, error.start)
            raise UserError(
                f"{self._text.name}: line {line}: not UTF-8: byte 0x{data[error.start]:02x}; "
                "convert the file to UTF-8"
            ) from error
        except pa.ArrowInvalid as error:
            raise self._fault(part, data, first_line(error)) from error
        if len(table) != part.rows:
            raise UserError(
                f"{self._text.name}: line {part.first_line}: {len(table)} objects from here on in "
                f"{part.rows} lines; write one object per line"
            )
        return table

    def _fault(self, part: Part, data: bytes, reason: str) -> UserError:
        row = int(found[1]) if (found := _ROW.search(reason)) else 0
        row = min(row, part.rows - 1)  # a line may have several objects
        where = f"{self._text.name}: line {self._line(part, data, row)}"
        place = _PLACE.search(reason)
        if place and "specified twice" in reason:
            return UserError(f"{where}, column {place[1]!r}: an object has a key twice; keep one")
        if place and (value := _value(data, row, place[1])) is not None:
            return UserError(
                f"{where}, column {place[1]!r}: {json.dumps(value)[:80]} has another type than the "
                "values before; write one type per column"
            )
        if "Column()" in reason:
            return UserError(f"{where}: not an object; write one JSON object per line")
        text = reason.removeprefix("JSON parse error: ")
        return UserError(f"{where}: not JSON ({text}); write one JSON object per line")

    def _changed(self, part: Part, data: bytes, name: str, before: str) -> UserError:
        for row in range(part.rows):
            if (value := _value(data, row, name)) is not None:
                break
        line = self._line(part, data, row)
        return UserError(
            f"{self._text.name}: line {line}, column {name!r}: {json.dumps(value)[:80]}, but the "
            f"values before are {before}; write one type per column"
        )


def _rows(data: Bytes, ends: IntArray) -> tuple[IntArray, IntArray]:
    """Like `rows_between`, without lines of only spaces."""
    starts, ends = rows_between(data, ends)
    kept = np.ones(len(starts), dtype=bool)
    for index in np.flatnonzero(np.isin(data[starts], np.frombuffer(b" \t", np.uint8))).tolist():
        kept[index] = bool(data[starts[index] : ends[index]].tobytes().strip())
    return starts[kept], ends[kept]


def _count(data: Bytes, ends: IntArray) -> int:
    return len(_rows(data, ends)[0])


def _value(data: bytes, row: int, name: str) -> Any:
    """Return a value for a message; None if there is none, or the row is not JSON."""
    array = np.frombuffer(data, dtype=np.uint8)
    starts, ends = _rows(array, line_ends(array))
    try:
        values = json.loads(data[int(starts[row]) : int(ends[row])])
    except (ValueError, RecursionError):
        return None
    return values.get(name) if isinstance(values, dict) else None


def _exact_type(column: pa.ChunkedArray, data: bytes, name: str) -> pa.DataType:
    """Return the type to read an inferred column with."""
    kind = column.type
    if kind == pa.float64() and (pc.max(pc.abs(column)).as_py() or 0) >= _EXACT:
        # Whole numbers from 2**63 on, such as hashes, are inferred as floats.
        try:
            pa.json.read_json(
                pa.BufferReader(data),
                read_options=pa.json.ReadOptions(block_size=len(data) + 1, use_threads=False),
                parse_options=pa.json.ParseOptions(
                    explicit_schema=pa.schema([(name, pa.uint64())]),
                    unexpected_field_behavior="ignore",
                ),
            )
        except pa.ArrowInvalid:
            return kind
        return pa.uint64()
    return _without_times(kind)


def _without_times(kind: pa.DataType) -> pa.DataType:
    """Replace timestamps, which are inferred from text that looks like one, by text."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_without_times(kind.value_type))
    return kind


def _with_values(kind: pa.DataType) -> pa.DataType:
    """Replace lists of nulls, for which the parser makes an invalid array, by lists of text."""
    if pa.types.is_list(kind):
        inner = pa.string() if pa.types.is_null(kind.value_type) else kind.value_type
        return pa.list_(_with_values(inner))
    return kind


def _merge(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """Unify types as the parser names them; objects are never read, and unify with each other."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first) or (pa.types.is_struct(first) and pa.types.is_struct(second)):
        return second
    if pa.types.is_list(first) and pa.types.is_list(second):
        inner = _merge(first.value_type, second.value_type)
        return None if inner is None else pa.list_(inner)
    return unify(first, second)
