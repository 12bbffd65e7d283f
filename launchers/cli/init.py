"""`homerec init`: proposes a configuration for a table of your own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launchers.cli.command import Positive


def init(
    *files: str,
    labels: str = "",
    user: str | None = None,
    no_user: bool = False,
    time: str | None = None,
    weight: str | None = None,
    split: str | None = None,
    drop: str = "",
    join: Sequence[str] = (),
    separator: str | None = None,
    no_header: bool = False,
    rows: Positive = 100_000,
    out: Path = Path("run.yaml"),
    overwrite: bool = False,
) -> int:
    """Look at a table and write a commented configuration that trains as it stands.

    Args:
        files: files, folders or patterns of the table: Parquet, CSV, Arrow, JSON lines or Delta,
            also at s3://, gs:// or hdfs://.
        labels: columns to learn, A,B,...; unset: found by name, such as click, is_like or target.
        user: column of users, for GAUC; unset: found by name.
        no_user: no users, and no GAUC.
        time: column of times; unset: found by type and name.
        weight: column of row weights.
        split: time, random or column:NAME; unset: time if there is one.
        drop: columns to leave out, A,B,...
        join: side table, FILE:KEY or FILE:KEY=KEY_THERE; may be repeated.
        separator: separator of CSV columns, or 'tab'; unset: found.
        no_header: the first line of CSV files is a row.
        rows: number of rows to look at, spread over the table.
        out: YAML file to write.
        overwrite: replace --out if it exists.
    """
    from launchers.cli.init_actions import InitOptions, run_init

    return run_init(
        InitOptions(
            files=files,
            labels=labels,
            user=user,
            no_user=no_user,
            time=time,
            weight=weight,
            split=split,
            drop=drop,
            join=tuple(join),
            separator=separator,
            no_header=no_header,
            rows=rows,
            out=out,
            overwrite=overwrite,
        )
    )
