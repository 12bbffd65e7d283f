"""Equal tables are estimated once, and TorchRec's estimator is asked for its annotations alone."""

from __future__ import annotations

from embeddings.planner.inputs.cluster import load_cluster
from embeddings.planner.inputs.costs import TorchRecConfig
from embeddings.planner.inputs.table_list import CacheUse, ListedTable
from embeddings.planner.problem.enumerator import CompactEnumerator
from embeddings.planner.problem.pricing import all_options, estimators
from tests.embeddings.planner.models import request_of


class CountingEnumerator(CompactEnumerator):
    """Counts what is estimated."""

    estimated = 0

    def populate_estimates(self, sharding_options: list[object]) -> None:
        self.estimated += len(sharding_options)
        super().populate_estimates(sharding_options)


def test_equal_tables_are_estimated_once() -> None:
    cache = CacheUse(load_factor=0.1, distinct=10.0, miss_rate=0.5)
    kinds = [
        ListedTable(name="a", rows=100, dim=16),
        ListedTable(name="b", rows=100, dim=16, cache=cache),
        ListedTable(name="c", rows=100, dim=16, pooling_factor=3.0),
        ListedTable(name="d", rows=100, dim=16, optimizer="adam"),
        ListedTable(name="e", rows=100, dim=16, dtype="fp16"),
        ListedTable(name="f", rows=100, dim=16, unpooled=True),
    ]
    copies = [kind.model_copy(update={"name": f"{kind.name}_2"}) for kind in kinds]
    request = request_of([*kinds, *copies], load_cluster("h100-2x1"))
    topology, usage = request.group.topology(), request.constraints
    enumerator = CountingEnumerator(
        topology,
        request.batch_size,
        usage,
        estimators(topology, usage, request.pipeline),
    )
    every = enumerator.options(request.module, request.sharders)
    alone = all_options(request_of(kinds, load_cluster("h100-2x1")))[1]
    assert 2 * enumerator.estimated == len(every.options) == 2 * len(alone.options)
    names = [table.name for table in every.tables]
    for one, table in enumerate(alone.tables):
        for name in (table.name, f"{table.name}_2"):
            mine, theirs = every.of(names.index(name)), alone.of(one)
            assert (every.perf[mine] == alone.perf[theirs]).all()
            assert (every.memory[mine] == alone.memory[theirs]).all()


def test_annotations_of_a_config_are_still_found() -> None:
    class Annotated(TorchRecConfig):
        def mine(self) -> float:
            return 1.0

        mine._is_custom_fwd_comms = True  # type: ignore[attr-defined]

    assert dir(TorchRecConfig()) == []
    assert dir(Annotated()) == ["mine"]
