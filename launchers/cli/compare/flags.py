"""Options of `homerec compare --protocol rolling`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from launchers.cli.command import Positive


@dataclass(frozen=True)
class RollingFlags:
    """Fields are options of the command, None or () if they are not given."""

    raw: Path | None = None
    """rolling: folder of KuaiRand's CSV files, which are prepared for each origin; or give --config
    of a table with a column of times."""
    early: Path | None = None
    """rolling: CSV file of rows before the log, as for 'homerec prepare kuairand --early'; a
    second, larger setting."""
    min_train_days: Positive | None = None
    """rolling: smallest number of training days (default: 4)."""
    origins: Positive | None = None
    """rolling: number of origins, the latest ones (default: every one that the days allow)."""
    trials: Positive | None = None
    """rolling: trials of each tower at an origin where it is tuned (default: 8); the first has the
    values of the recipe and of the options, if the search space contains them."""
    tune_at: Literal["first", "every"] | None = None
    """rolling: origins at which towers are tuned; first: once, for all origins (default: first)."""
    search: tuple[str, ...] = ()
    """rolling: field to vary, FIELD=VALUES as in 'homerec tune', repeatable (default: both learning
    rates, dropout, weight decay and, without --match, expert width)."""

    @property
    def given(self) -> list[str]:
        """Names of the options that are given."""
        names = [one.name for one in fields(self) if getattr(self, one.name) not in (None, ())]
        return [name.replace("_", "-") for name in names]
