"""Whatever becomes of a file that a plan is made from, it is read or one line says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.cluster_file import cluster_yaml
from embeddings.planner.inputs.rules import load_rules
from embeddings.planner.inputs.table_list import build_module, load_tables, usage
from embeddings.planner.inputs.table_stats import load_table_stats
from tests.embeddings.planner.inputs.test_table_stats import some_stats
from tests.mutations import assert_read_or_refused, planner_errors, text_mutations

TABLES = {
    "tables": [
        {"name": "a", "rows": 1003, "dim": 16, "features": ["a", "b"], "pooling_factor": [2, 3.5]},
        {"name": "c", "rows": 9, "dim": 8, "optimizer": "adam", "unpooled": True},
    ]
}
RULES = {
    "rules": [
        {"tables": "a*", "types": ["row_wise"], "width": 64},
        {"tables": "*", "kernels": ["fused"]},
    ]
}
CLUSTER = load_cluster("cpu").model_dump(mode="json", exclude_none=True)


def use_cluster(path: Path) -> None:
    cluster_yaml(load_cluster(str(path)), [])


def use_tables(path: Path) -> None:
    tables = load_tables(path)
    if sum(table.rows * table.dim for table in tables) < 1e12:
        build_module(tables)
    usage(tables)


def use_stats(path: Path) -> None:
    found = load_table_stats(path)
    found.to_json()
    for one in found.tables.values():
        one.rows_for(0.5)
        one.served(3)
        one.cacheability()
        one.distinct_in(7)


FILES: dict[str, tuple[Any, Callable[[Path], object]]] = {
    "cluster.yaml": (CLUSTER, use_cluster),
    "preset.yaml": ({"preset": "h100", "hosts": 2, "hbm_gb": 40}, use_cluster),
    "tables.yaml": (TABLES, use_tables),
    "rules.yaml": (RULES, load_rules),
    "stats.json": (json.loads(some_stats().to_json()), use_stats),
    "stats.yaml": (json.loads(some_stats().to_json()), use_stats),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_or_one_line_says_why_not(tmp_path: Path, name: str) -> None:
    value, read = FILES[name]
    path = tmp_path / name
    path.write_text(json.dumps(value), encoding="utf-8")
    read(path)

    def use() -> None:
        with planner_errors():
            read(path)

    for changed in text_mutations(json.dumps(value)):
        path.write_bytes(changed)
        assert_read_or_refused(use, changed)
