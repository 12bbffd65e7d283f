"""A run is planned by the search it names, for its ranks, within its limits, the same on all."""

from __future__ import annotations

from typing import Any

import pytest

from embeddings.config import ShardingConfig
from embeddings.planner.inputs.cluster import load_cluster
from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.find_sharding_plan import Memory, of_gpu, planning_seconds
from pipeline.training.resolve_features import resolve_features
from tests.integration.sharding.test_sharding import SCHEMA, config
from tests.ranks import run_ranks


def planned_by(**fields: Any) -> Config:
    return config(()).model_copy(update={"sharding": ShardingConfig(**fields)})


def outcome(run: Config) -> Any:
    """The plan, or the message where there is none."""
    try:
        return build(run, resolve_features(run, SCHEMA), this_world())[1].plan
    except UserError as error:
        return str(error)


_RUNS: dict[str, dict[str, Any]] = {
    "homerec": {},
    "torchrec": {"planner": "torchrec"},
    "homerec in types": {"types": ("column_wise", "row_wise")},
    "torchrec in types": {"planner": "torchrec", "types": ("column_wise", "row_wise")},
    "preset": {"cluster": "cpu"},
    "groups": {"replica_groups": 2},
    "other ranks": {"cluster": "cpu-4x1"},
    "no preset": {"cluster": "cray"},
    "for the other planner": {"planner": "torchrec", "cluster": "cpu"},
}


def plan_each(rank: int, size: int, full: str) -> dict[str, Any]:
    found = {name: outcome(planned_by(**fields)) for name, fields in _RUNS.items()}
    return found | {"full": outcome(planned_by(cluster=full))}


@pytest.fixture(scope="module")
def by_rank(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    full = tmp_path_factory.mktemp("clusters") / "full.yaml"
    full.write_text("preset: cpu\nddr_gb: 1.0e-6\n", encoding="utf-8")
    found: list[dict[str, Any]] = run_ranks(plan_each, 2, str(full))
    return found


def types_of(plan: dict[str, Any]) -> set[str]:
    return {row["sharding_type"] for row in plan["tables"]}


def test_ranks_have_one_plan_or_one_error(by_rank: list[dict[str, Any]]) -> None:
    assert by_rank[0].keys() == by_rank[1].keys()
    for name in by_rank[0].keys() - {"groups"}:
        assert by_rank[0][name] == by_rank[1][name], name


def test_small_tables_on_two_ranks_share_a_sharding_type(by_rank: list[dict[str, Any]]) -> None:
    assert len(types_of(by_rank[0]["homerec"])) == 1
    assert by_rank[0]["preset"] == by_rank[0]["homerec"]


def test_limits_hold_under_both_planners(by_rank: list[dict[str, Any]]) -> None:
    for planner in ("homerec", "torchrec"):
        plan = by_rank[0][f"{planner} in types"]
        assert types_of(plan) <= {"column_wise", "row_wise"}


def test_replica_groups_are_no_copies(by_rank: list[dict[str, Any]]) -> None:
    assert "data_parallel" not in types_of(by_rank[0]["groups"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other ranks", "cpu-4x1 has 1 hosts of 4 cpu ranks, and this run has 1 of 2 on cpu"),
        ("no preset", "sharding.cluster: cluster: no preset 'cray'; presets: a100-40"),
        ("for the other planner", "sharding.cluster: cpu is for homerec's planner"),
        ("full", "no sharding plan: 3 of 3 tables do not fit on 2 ranks; "),
    ],
)
def test_what_cannot_be_planned_is_one_line(
    name: str, words: str, by_rank: list[dict[str, Any]]
) -> None:
    message = by_rank[0][name]
    assert words in message
    assert "\n" not in message


def lone(rank: int, size: int) -> list[Any]:
    semi_sync = planned_by().model_copy(
        update={"train": planned_by().train.model_copy(update={"pipeline": "semi_sync"})}
    )
    return [outcome(planned_by()), outcome(semi_sync)]


def test_no_copies_on_one_rank_nor_for_semi_sync() -> None:
    for size in (1, 2):
        alone, semi_sync = run_ranks(lone, size)[0]
        assert "data_parallel" not in types_of(semi_sync)
        assert size == 2 or "data_parallel" not in types_of(alone)


def test_a_gpu_has_the_memory_that_it_has() -> None:
    """A preset's links where the name is known, TorchRec's constants where not."""
    known = of_gpu("NVIDIA H100 80GB HBM3", Memory(79.1, 500.0))
    assert (known.hbm_gb, known.ddr_gb) == (79.1, 500.0)
    assert known.intra_bw == load_cluster("h100").intra_bw
    other = of_gpu("NVIDIA A10G", Memory(22.5, 60.0))
    assert (other.hbm_gb, other.ddr_gb) == (22.5, 60.0)
    assert other.source == "TorchRec's defaults"


@pytest.mark.parametrize("timeout", [1, 60, 600, 100_000])
def test_a_search_ends_before_the_others_lose_patience(timeout: int) -> None:
    run = planned_by()
    run = run.model_copy(update={"train": run.train.model_copy(update={"timeout": timeout})})
    # With what TorchRec's planner or the diagnosis takes on top.
    assert planning_seconds(run) * 1.5 < max(timeout, 2)
