"""Compares a prepared folder with the table that it should have been made from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pipeline.data.sources.resolve import resolve
from pipeline.data.table.folder import changed_files, load_table, records
from pipeline.data.table.spec import TableSpec
from pipeline.io.console import plain_console, print_line
from pipeline.io.errors import UserError

_AGAIN = "run 'homerec prepare table --config FILE --overwrite', or choose another --data.path"


def is_prepared(spec: TableSpec, folder: Path, encode: Literal["once", "always"]) -> bool:
    """Whether `folder` was made from this table; False if it does not exist.

    Raises UserError if it was made in another way, or files have changed or been added since.
    """
    if not (folder / "schema.json").is_file():
        return False
    found = load_table(folder)
    if found is None:
        raise UserError(
            f"{folder}: prepared from other data than data.source; choose another --data.path"
        )
    if found.encode != encode:
        raise UserError(
            f"{folder}: prepared with data.encode {found.encode}, not {encode}; {_AGAIN}"
        )
    for name in TableSpec.model_fields:
        if getattr(found.spec, name) != getattr(spec, name):
            field = name if name == "features" else f"data.{name}"
            raise UserError(f"{folder}: prepared with another {field}; {_AGAIN}")
    try:
        files = records(resolve(spec.source))
        side_files = records([file for join in spec.join for file in resolve(join)])
    except UserError as error:
        # Only the copy is needed to train on it.
        if encode == "always":
            raise
        print_line(plain_console(stderr=True), f"note: not compared with {folder}: {error}")
        return True
    change = changed_files(found.files, files) or changed_files(
        found.side_files, side_files, "side tables"
    )
    if change:
        raise UserError(f"{folder}: {change} since it was prepared; {_AGAIN}")
    return True
