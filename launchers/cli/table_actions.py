"""Prepares the table of a configuration, for `homerec prepare table` and before training."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.io.console import plain_console, print_line
from pipeline.io.errors import UserError

if TYPE_CHECKING:
    from pipeline.data.table.engine import Engine
    from pipeline.data.table.spec import TableSpec

_POLL_S = 0.5
_NOTICE_S = 10.0


def prepare(
    config: Path,
    out: Path | None,
    overrides: Sequence[str],
    *,
    overwrite: bool,
    engine: str | None = None,
) -> int:
    """Prepare the table of a YAML file; returns the exit code. `engine`: address of a cluster."""
    tree = resolve(None, config, overrides)
    spec = tree.table_spec()
    if spec is None:
        raise UserError(f"{config}: no data.source; 'homerec init' writes a file with one")
    return _write(tree, spec, out or tree.data.path, overwrite=overwrite, address=engine)


def ensure_data(config: Config) -> None:
    """Prepare the table of a run, if it has one and that has not been done.

    Rank 0 prepares; the others wait for the folder, which all ranks have to see.
    """
    spec = config.table_spec()
    if spec is None:
        return
    from pipeline.data.table.existing import is_prepared

    path = config.data.path
    if is_prepared(spec, path, config.data.encode):
        return
    if int(os.environ.get("RANK", 0)) == 0:
        _write(config, spec, path, overwrite=False)
        return
    start = time.monotonic()
    told = False
    while not (path / "schema.json").is_file():
        if not told and time.monotonic() - start > _NOTICE_S:
            print_line(plain_console(stderr=True), f"waiting for rank 0, which prepares {path}")
            told = True
        time.sleep(_POLL_S)


@contextmanager
def _engine(address: str | None) -> Iterator[Engine | None]:
    if address is None:
        yield None
        return
    from pipeline.data.table.spark import SparkEngine

    engine = SparkEngine(address)
    try:
        yield engine
    finally:
        engine.close()


def _write(
    config: Config, spec: TableSpec, out: Path, *, overwrite: bool, address: str | None = None
) -> int:
    from launchers.cli.prepare_actions import run_prepare
    from pipeline.data.table.folder import load_table
    from pipeline.data.table.prepare import prepare_table

    with _engine(address) as engine:
        code = run_prepare(
            out,
            lambda progress: prepare_table(
                spec,
                out,
                encode=config.data.encode,
                overwrite=overwrite,
                engine=engine,
                progress=progress,
            ),
        )
    found = load_table(out)
    if found is not None and found.bad_rows:
        rows = "1 row" if found.bad_rows == 1 else f"{found.bad_rows:,} rows"
        print_line(plain_console(), f"left out {rows} with bad values; first: {found.faults[0]}")
    return code
