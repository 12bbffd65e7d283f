"""What a measurement says meanwhile: on one rank, in lines that are true."""

from __future__ import annotations

import pytest

from launchers.cli.plan.progress import ProgressPrinter


@pytest.mark.parametrize(
    ("printer", "lines"),
    [
        (
            ProgressPrinter(is_first=True, rounds=5, plans=3),
            ["round 2 of 5: 3 plans done", "off; 10 more rounds"],
        ),
        # A calibration may measure more rounds than it was asked for.
        (
            ProgressPrinter(is_first=True, rounds=None, plans=None),
            ["round 2: 10 plans done", "off; 10 more rounds"],
        ),
        (ProgressPrinter(is_first=False, rounds=5, plans=3), []),
    ],
)
def test_progress_and_retries_are_told(
    printer: ProgressPrinter, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for done in range(1, 12):
        printer.on_progress(1, done)
    printer.on_retry("off", 10)
    assert capsys.readouterr().err.splitlines() == lines
