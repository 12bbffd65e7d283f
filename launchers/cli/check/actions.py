"""Implements `homerec check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launchers.cli.check.text import print_check
from launchers.cli.plan.user_errors import check_folder
from launchers.cli.prepare_actions import progress_bar
from pipeline.config.overrides import resolve
from pipeline.data.check_table.check import check_table
from pipeline.io.console import plain_console, print_line
from pipeline.io.errors import UserError
from pipeline.io.exit_codes import ExitCode
from pipeline.io.files import check_no_other, write_text

_STDOUT = Path("-")


def run_check(
    config: Path, overrides: Sequence[str], *, json: Path | None, html: Path | None
) -> int:
    """Check the table of a YAML file; returns the exit code."""
    if json is not None and json != _STDOUT and str(json).startswith("-"):
        raise UserError(f"--json: {str(json)!r} is an option; give a file, or '-' to print")
    for option, path in (("--json", json), ("--html", html)):
        if path is not None and path != _STDOUT:
            check_folder(path, option)
            check_no_other(path)
    tree = resolve(None, config, overrides)
    spec = tree.table_spec()
    if spec is None:
        raise UserError(f"{config}: no data.source; 'homerec init' writes a file with one")
    with progress_bar() as progress:
        found = check_table(spec, progress, time_column=tree.data.time)
    text = found.model_dump_json(indent=1) + "\n"
    if json == _STDOUT:
        print(text, end="")  # noqa: T201
    else:
        print_check(found)
    written = plain_console(stderr=json == _STDOUT)
    if json is not None and json != _STDOUT:
        write_text(json, text)
        print_line(written, f"{json}: written")
    if html is not None:
        from pipeline.report.table_check import check_page

        write_text(html, check_page(str(config), found))
        print_line(written, f"{html}: written")
    return ExitCode.USER_ERROR if found.bad_rows and spec.on_bad_row == "stop" else ExitCode.OK
