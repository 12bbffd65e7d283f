"""Timings made from known constants give these constants back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from embeddings.planner.calibration.fit import calibrate
from embeddings.planner.calibration.micro_plans import micro_plans
from embeddings.planner.calibration.observed import Observed
from embeddings.planner.inputs.cluster import Cluster, load_cluster
from embeddings.planner.inputs.costs import (
    Costs,
    FixedCosts,
    KernelCosts,
    LookupWeights,
    Shares,
    StartCost,
    StartCosts,
)
from embeddings.planner.inputs.table_list import ListedTable
from embeddings.planner.plans.fixed_plan import FixedTable, fixed_plan, repriced
from embeddings.planner.plans.plan_file import PlanFile
from embeddings.planner.problem.options import PARTS
from tests.embeddings.planner.models import uncalibrated

BATCH = 512
KNOWN = Costs(
    fused=KernelCosts(
        forward=LookupWeights(ids=3.0, rows=0.8, output=1.2),
        backward=LookupWeights(ids=5.0, rows=2.0, output=0.5),
    ),
    dense=KernelCosts(
        forward=LookupWeights(ids=2.0, rows=0.6, output=1.5),
        backward=LookupWeights(ids=4.0, rows=1.1, output=2.5),
    ),
    dense_bw=12.0,
    block_penalty=False,
    id_bytes=11.0,
    shares=Shares(all_to_all=1.0, reduce_scatter=0.4, all_gather=0.7, all_reduce=0.3),
    fixed=FixedCosts(
        fwd_compute=0.02,
        fwd_comms=0.2,
        bwd_compute=0.05,
        bwd_comms=0.1,
        input_dist_comms=0.04,
        optimizer=0.03,
    ),
    starts=StartCosts(
        sharded=StartCost(
            fwd_compute=0.3, fwd_comms=0.2, bwd_compute=0.15, bwd_comms=0.2, input_dist_comms=0.5
        ),
        copied=StartCost(fwd_compute=0.25, bwd_compute=0.1, bwd_comms=0.35),
    ),
    weighted_feature_bwd_compute_multiplier=2.5,
    weighted_kernel_multiplier=0.0,
)
OPTIMIZER_START = 0.15  # of the 0.35


def made_of(file: PlanFile, noise: np.random.Generator | None = None) -> Observed:
    """What a machine would show on which TorchRec's estimate is the truth."""
    assert file.cluster.costs is not None
    unpriced = file.cluster.costs.fixed.model_copy(update={"optimizer": 0.0})
    free = file.cluster.costs.model_copy(update={"dense_bw": 1e15, "fixed": unpriced})
    no_steps = repriced(file, file.cluster.model_copy(update={"costs": free})).perf()
    ms = []
    for rank, perf in enumerate(file.perf()):
        took = dict(zip(PARTS, perf.tolist(), strict=True))
        copies = file.tables[0].copied
        took["all_reduce"] = no_steps[rank, PARTS.index("bwd_comms")] if copies else 0.0
        took["optimizer"] = took["bwd_comms"] - took["all_reduce"] if copies else 0.0
        for part, start in file.starts().items():
            took[part] += start
        if copies:
            took["optimizer"] += OPTIMIZER_START
            took["all_reduce"] += file.starts()["bwd_comms"] - OPTIMIZER_START
        if noise is not None:
            took = {part: value * noise.uniform(0.9, 1.1) for part, value in took.items()}
        ms.append(took)
    return Observed(file=file, ms=ms)


def observations(cluster: Cluster, noise: np.random.Generator | None = None) -> list[Observed]:
    true = cluster.model_copy(update={"costs": KNOWN, "ddr_bw": 9.0, "intra_bw": 3.0})
    return [made_of(repriced(plan, true), noise) for plan in micro_plans(cluster, BATCH)]


def unseen(cluster: Cluster) -> PlanFile:
    """Tables, types and places that no micro-plan has."""
    table = ListedTable(name="a", rows=3_000, dim=48, pooling_factor=7)
    places = (("table_wise", 48, (1,)), ("column_wise", 16, (0, 1, 0)), ("row_wise", 48, (0, 1)),
              ("data_parallel", 48, (0, 1)))  # fmt: skip
    given = [
        FixedTable(
            table=table.model_copy(update={"name": kind, "rows": 3_000 + n}),
            sharding_type=kind,
            width=width,
            ranks=ranks,
        )
        for n, (kind, width, ranks) in enumerate(places)
    ]
    return fixed_plan(given, cluster, 300)


def off(found: Cluster, truth: PlanFile, parts: Sequence[str]) -> float:
    columns = [PARTS.index(part) for part in parts]
    guess = repriced(truth, found).perf()[:, columns]
    return float(np.abs(guess / truth.perf()[:, columns] - 1).max())


def test_known_constants_come_back() -> None:
    cluster = load_cluster("cpu-2x1")
    observed = observations(cluster)
    found, fits = calibrate(observed, cluster)
    # The optimizer's row of zeros in tables without copies aside, everything is linear.
    assert {fit.name: round(fit.error, 3) for fit in fits} == {fit.name: 0.0 for fit in fits}
    assert found.intra_bw == pytest.approx(3.0, rel=1e-3)
    costs = found.costs
    assert costs is not None
    # Row-wise gradients are gathered and copied; how these two share the time cannot be told.
    determined = {"all_to_all", "reduce_scatter", "all_reduce"}
    assert costs.shares.model_dump(include=determined) == pytest.approx(
        KNOWN.shares.model_dump(include=determined), rel=1e-3
    )
    assert costs.fixed.model_dump() == pytest.approx(KNOWN.fixed.model_dump(), rel=1e-2)
    for own_start, known_start in (
        (costs.starts.sharded, KNOWN.starts.sharded),
        (costs.starts.copied, KNOWN.starts.copied),
    ):
        assert own_start.model_dump() == pytest.approx(known_start.model_dump(), rel=1e-2)
    assert costs.id_bytes == pytest.approx(11.0, rel=1e-3)
    # A kernel's weights are relative to a bandwidth that is free to choose: rates are not.
    # An id in a lookup counts as many bytes as in its exchange: 11.
    for own, known in ((costs.fused.forward, KNOWN.fused.forward),
                       (costs.fused.backward, KNOWN.fused.backward)):  # fmt: skip
        assert own is not None
        assert known is not None
        for kind in LookupWeights.model_fields:
            rate = getattr(own, kind) / found.ddr_bw
            assert rate == pytest.approx(getattr(known, kind) / 9.0, rel=1e-3)
    # What was not on the micro-benchmarks is predicted as the truth has it.
    true = cluster.model_copy(update={"costs": KNOWN, "ddr_bw": 9.0, "intra_bw": 3.0})
    truth = repriced(unseen(cluster), true)
    assert off(found, truth, PARTS[:5]) < 1e-3


def test_links_within_and_between_hosts_are_distinguished() -> None:
    cluster = load_cluster("cpu-2x2")
    links = {"costs": KNOWN, "ddr_bw": 9.0, "intra_bw": 3.0, "inter_bw": 1.0}
    true = cluster.model_copy(update=links)
    observed = [made_of(repriced(plan, true)) for plan in micro_plans(cluster, BATCH)]
    found, _ = calibrate(observed, cluster)
    assert (found.intra_bw, found.inter_bw) == pytest.approx((3.0, 1.0), rel=1e-3)
    assert found.costs is not None
    assert found.costs.shares.reduce_scatter == pytest.approx(0.4, rel=1e-3)


def test_noise_of_a_tenth_stays_about_that() -> None:
    cluster = load_cluster("cpu-2x1")
    found, fits = calibrate(observations(cluster, np.random.default_rng(3)), cluster)
    assert max(fit.error for fit in fits) < 0.15
    true = cluster.model_copy(update={"costs": KNOWN, "ddr_bw": 9.0, "intra_bw": 3.0})
    truth = repriced(unseen(cluster), true)
    assert off(found, truth, ("fwd_compute", "bwd_compute")) < 0.15
    assert off(found, truth, PARTS[:4]) < 0.4


def test_times_without_bytes_in_them_are_rejected() -> None:
    cluster = load_cluster("cpu-2x1")
    flat = [
        Observed(file=one.file, ms=[dict.fromkeys(rank, 1.0) for rank in one.ms])
        for one in observations(cluster)
    ]
    with pytest.raises(ValueError, match="do not increase with bytes; calibrate again"):
        calibrate(flat, cluster)


def test_a_plan_takes_a_start_for_each_of_its_types() -> None:
    cluster = uncalibrated("cpu-2x1")
    plan = unseen(cluster)
    assert plan.objective_ms() == plan.expected_ms() == plan.time_ms
    own = repriced(plan, cluster.model_copy(update={"costs": KNOWN}))
    sharded, copied = KNOWN.starts.sharded.model_dump(), KNOWN.starts.copied.model_dump()
    assert own.starts() == pytest.approx(
        {part: 3 * sharded[part] + copied[part] for part in copied}
    )
    assert own.expected_ms() == pytest.approx(own.time_ms + 3 * 0.85 + 0.7)
    assert own.objective_ms() == pytest.approx(own.expected_ms() + 3 * 0.5)


def test_one_rank_exchanges_nothing() -> None:
    starts = KNOWN.starts.by_part(["table_wise", "row_wise", "table_wise", "data_parallel"], 1)
    assert sum(starts.values()) == pytest.approx(2 * (0.3 + 0.15) + 0.25 + 0.1)
