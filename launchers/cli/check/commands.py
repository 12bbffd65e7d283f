"""`homerec check`: checks a table of your own before it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from launchers.cli.command import Overrides


def check(
    *,
    config: Path,
    json: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    html: Path | None = None,
    overrides: Overrides = (),
) -> int:
    """Read a whole table once and report bad values, label rates, unseen ids, drift between
    splits, and duplicates.

    Exits with 2 if there are bad values and data.on_bad_row is stop.

    Args:
        config: YAML file, such as 'homerec init' writes.
        json: JSON file to write; '-' prints it instead of the text.
        html: HTML page to write.
    """
    from launchers.cli.check.actions import run_check

    return run_check(config, overrides, json=json, html=html)
