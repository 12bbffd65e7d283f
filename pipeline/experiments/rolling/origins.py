"""Origins: the last training day, the day to choose on, and the day to test on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pipeline.io.errors import UserError


@dataclass(frozen=True, slots=True)
class Origin:
    """Training takes all days up to `train_to`."""

    train_to: date
    val: date
    test: date

    @property
    def name(self) -> str:
        """Name in folders and tables: the test day."""
        return f"{self.test:%Y-%m-%d}"


def find_origins(days: Sequence[date], min_train_days: int, last: int | None) -> list[Origin]:
    """Return the origins of `days`, those with rows, in order; `last`: only so many, the latest.

    Raises UserError if there are not enough days.
    """
    found = [
        Origin(*days[end - 1 : end + 2]) for end in range(max(1, min_train_days), len(days) - 1)
    ]
    if not found:
        raise UserError(
            f"command line: --min-train-days {min_train_days}: the data have rows of {len(days)} "
            f"days, and two are needed for choosing and testing; give at most {len(days) - 2}"
            if len(days) > 2
            else f"data: rows of {len(days)} days; rolling origins need at least 3"
        )
    if last is not None and last > len(found):
        raise UserError(
            f"command line: --origins {last}: the data have {len(found)} with --min-train-days "
            f"{min_train_days}; give at most {len(found)}"
        )
    return found[-last:] if last else found
