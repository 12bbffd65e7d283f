"""Plans to look at, with names that mean harm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embeddings.planner.find import find_plan
from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.rules import Rule, offered
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.describe import describe_plan
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.search.search import Budget
from tests.embeddings.planner.models import request_of

# What a table's name may have: no blank, dot or slash.
HOSTILE = (
    "<script>harm()",
    "\"'onclick=harm()><img>",
    "<!--<script>",  # without an escape, the page's own script would not end
    "&lt;b&gt;名前",
)

# Names in the list's rows that are in the document.
LISTED = "[...document.querySelectorAll('.list .opens')].map(button => button.textContent)"


def tables_of(count: int = 12, names: Sequence[str] = ()) -> list[ListedTable]:
    """Large and small, multi-valued and not; the first ones under the given names."""
    draw = np.random.default_rng(3)
    found = []
    for i in range(count):
        name = names[i] if i < len(names) else f"table{i}"
        found.append(
            ListedTable(
                name=name,
                rows=int(10 ** draw.uniform(2, 6.5)),
                dim=int(draw.choice([16, 64, 128])),
                features=(f"{name}-a", f"{name}-b") if i % 5 == 1 else (),
                pooling_factor=round(float(10 ** draw.uniform(0, 1.5)), 2),
                optimizer="adam" if i % 4 == 3 else "rowwise_adagrad",
            )
        )
    return found


def plan_of(
    tables: Sequence[ListedTable], cluster: str, *rules: Rule, rounds: int = 100
) -> PlanFile:
    request = request_of(tables, load_cluster(cluster), rules=rules)
    request = request.changed(usage=offered(request.usage, rules))
    solution = find_plan(request, Budget(rounds=rounds), diagnosis_seconds=0)
    return describe_plan(request, solution, tables, seed=0)
