"""Checks a table: reads it once, in bounded memory.

Results do not depend on how rows are cut into files, but for the names of places.
"""

from __future__ import annotations

from functools import partial

from pipeline.data.check_table.feature_stats import feature_checks
from pipeline.data.check_table.findings import findings
from pipeline.data.check_table.result import (
    BadValues,
    CheckResult,
    Duplicates,
    LabelInSplit,
    Period,
    Place,
    SideTable,
)
from pipeline.data.check_table.tally import Tally, tally_chunk
from pipeline.data.prefetch import in_order
from pipeline.data.schema import SPLITS
from pipeline.data.table.engine import WORKERS, Progress
from pipeline.data.table.spec import TableSpec
from pipeline.data.table.table_rows import Table
from pipeline.features.program import label_column


def check_table(
    spec: TableSpec, progress: Progress, *, time_column: str | None = None
) -> CheckResult:
    """Read and check the whole table. Bad rows are counted and left out of all other numbers.

    Args:
        time_column: column of times, for label rates over time; unset: that of a split by time.

    Raises:
        UserError: a file is missing or damaged, or a column does not exist.
    """
    if time_column is None and spec.split.by == "time":
        time_column = spec.split.column
    table = Table(spec, extra=[] if time_column is None else [time_column])
    tally = Tally(table, time_column)
    tasks = (partial(tally_chunk, table, time_column, i) for i in range(len(table.chunks)))
    done = 0
    for chunk, found in zip(table.chunks, in_order(tasks, WORKERS), strict=True):
        tally.merge(found)
        done += chunk.rows
        progress(done, table.rows, "checking")
    result = _result(table, tally)
    return result.model_copy(update={"findings": findings(result, stops=spec.on_bad_row == "stop")})


def _result(table: Table, tally: Tally) -> CheckResult:
    rows: dict[str, int] = dict(zip(SPLITS, tally.rows.tolist(), strict=True))
    period, periods = _periods(table, tally)
    return CheckResult(
        rows=table.rows,
        bad_rows=tally.num_bad,
        bad_values=_bad_values(table, tally),
        splits=rows,
        labels={
            task: {split: _label(tally, task, index) for index, split in enumerate(SPLITS)}
            for task in table.spec.labels
        },
        period=period,
        periods=periods,
        features=feature_checks(dict(table.spec.features), tally),
        duplicates=_duplicates(tally, rows),
        side_tables=tuple(
            SideTable(name=name, missed=missed) for name, missed in table.source.misses.items()
        ),
    )


def _label(tally: Tally, task: str, split: int) -> LabelInSplit:
    rows = int(tally.rows[split])
    missing, positives = int(tally.unlabeled[task][split]), int(tally.positives[task][split])
    rate = positives / (rows - missing) if rows > missing else None
    return LabelInSplit(rows=rows, missing=missing, positives=positives, rate=rate)


def _bad_values(table: Table, tally: Tally) -> tuple[BadValues, ...]:
    return tuple(
        BadValues(
            column=check.column,
            what=check.what,
            remedy=check.remedy,
            count=int(count),
            first=tuple(Place(where=one.where, value=one.value) for one in faults),
        )
        for check, count, faults in zip(table.checks, tally.failures, tally.faults, strict=True)
        if count
    )


def _periods(table: Table, tally: Tally) -> tuple[str, tuple[Period, ...]]:
    kind, counts = tally.periods.table()
    columns = {task: label_column(task) for task in table.spec.labels}
    found = []
    for row in counts.iter_rows(named=True):
        rates = {}
        for task, column in columns.items():
            known = row[f"{column}.known"]
            rates[task] = row[f"{column}.positives"] / known if known else None
        found.append(Period(start=row["start"], rows=row["rows"], rates=rates))
    return kind, tuple(found)


def _duplicates(tally: Tally, rows: dict[str, int]) -> Duplicates:
    counts = tally.whole_rows
    frame = counts.frame
    in_train = frame["train"] > 0
    return Duplicates(
        exact=counts.scale == 1,
        repeated={
            split: counts.scale * int((frame[split] - 1).clip(lower_bound=0).sum())
            for split in rows
        },
        also_in_train={
            split: counts.scale * int(frame[split].filter(in_train).sum())
            for split in rows
            if split != "train"
        },
    )
