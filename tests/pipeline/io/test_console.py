"""Names and paths are printed as they are."""

from __future__ import annotations

import pytest

from pipeline.io.console import plain_console, print_line
from pipeline.io.text_table import text_table

NAME = "runs/[bold]a:fire:" + "b" * 100


def test_a_line_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(plain_console(), NAME)
    print_line(plain_console(stderr=True), NAME)
    assert capsys.readouterr() == (f"{NAME}\n", f"{NAME}\n")


def test_a_cell_of_a_table_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    table = text_table(None, ["name"])
    table.add_row(NAME)
    plain_console(width=200).print(table)
    assert NAME in capsys.readouterr().out
