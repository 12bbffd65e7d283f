"""Tables are readable at 80 columns: text folds, numbers are whole."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.experiments.study_tables import metric_tables
from pipeline.io.text_table import text_table
from pipeline.metrics.spec import metric_named
from pipeline.tracking.console_tables import plan_table
from tests.pipeline.experiments.studies import head, metrics, run, study


def at_80(*tables: Table) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(*tables)
    text = out.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    return text


def test_text_folds_and_numbers_do_not() -> None:
    view = text_table("Title", ["name"], ["a number", "another"])
    view.add_row("long name " * 12 + "x" * 90, "123,456,789", "0.1234")
    text = at_80(view)
    assert "123,456,789" in text
    assert "0.1234" in text
    assert text.count("x") == 90


def test_a_sharding_plan() -> None:
    row = {"table": "a_table_with_a_long_name_indeed", "sharding_type": "table_row_wise"}
    row |= {"compute_kernel": "fused_uvm_caching"}
    sizes = {"ranks": [*range(16)], "rows": 123_456_789, "dim": 128, "bytes": 63_209_876_000}
    text = at_80(plan_table({"tables": [row | sizes]}))
    for whole in ("table_row_wise", "fused_uvm_caching", "123,456,789", "63,209.88"):
        assert whole in text


def test_a_study_of_many_tasks_has_several_tables() -> None:
    tasks = [f"task_{i}" for i in range(6)]
    runs = []
    for seed in (0, 3):
        for tower in ("home", "single_task"):
            results = {task: metrics(0.7 + seed / 1000) for task in tasks}
            runs.append(run(tower, seed, val=results, test=results))
    towers: dict[str, Any] = {name: {"folder": name, "parameters": 1, "flops": 1, "config": {}}
              for name in ("home", "single_task")}  # fmt: skip
    made = study(runs, towers=towers, tasks=tasks, seeds=head()["seeds"][:2])
    tables = metric_tables(made, metric_named("auc"), 80)
    assert len(tables) > 1
    text = at_80(*tables)
    assert all(task in text for task in tasks)
    assert text.count(made["split"]) == 1
    assert len(metric_tables(made, metric_named("auc"), 200)) == 1
