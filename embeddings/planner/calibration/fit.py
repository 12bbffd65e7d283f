"""Fits the constants of TorchRec's estimate to measured plans by least squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from torchrec.distributed.planner.constants import BIGINT_DTYPE

from embeddings.planner.calibration.cost_terms import (
    EXCHANGES,
    TIERS,
    copied_bytes,
    exchange_bytes,
    lookup_bytes,
    optimizer_bytes,
    shards,
)
from embeddings.planner.calibration.observed import Fit, Fits, Observed
from embeddings.planner.inputs.arrays import FloatArray
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.costs import (
    Costs,
    FixedCosts,
    KernelCosts,
    LookupWeights,
    Shares,
    StartCost,
    StartCosts,
)
from embeddings.planner.plans.fixed_plan import repriced
from embeddings.planner.problem.options import PARTS

_REDUCE = EXCHANGES.index("all_reduce")
# Minimum remainder of a measured time after subtracting its known part, as a share.
_LEAST = 0.05
# Speed relative to an all-to-all of an exchange with no time left.
_FASTEST = 1e3


def calibrate(observed: Sequence[Observed], cluster: Cluster) -> tuple[Cluster, tuple[Fit, ...]]:
    """Return `cluster` with bandwidths and costs fitted to observations on it.

    Raises ValueError if the observations are too noisy to determine a bandwidth.
    """
    weighted = [one for one in observed if one.file.tables[0].table.weighted]
    plain = [one for one in observed if not one.file.tables[0].table.weighted]
    copies = [one for one in plain if one.file.tables[0].copied]
    fused = [one for one in plain if not one.file.tables[0].copied]
    fits = Fits()
    memory, kernel, fixed = _fused(fused, fits)
    dense_bw, dense, optimizer = _dense(copies, fixed, fits)
    sent = [exchange_bytes(one.file) for one in fused]
    rates = _exchanges(fused, sent, memory, fits)
    reduced = fits(
        "all_reduce",
        np.concatenate([exchange_bytes(o.file)["bwd_comms"][:, _REDUCE, 1:] for o in copies]),
        np.concatenate([one.rank("all_reduce") for one in copies]),
    )[0]
    intra, inter = _links(rates, cluster)
    ids = _ids(fused, sent, fits)
    far = int(cluster.hosts > 1)
    id_bytes = max(BIGINT_DTYPE * ids[0] * (inter if far else intra), _LEAST)
    costs = Costs(
        fused=_of_ids(kernel, id_bytes),
        dense=_of_ids(dense, id_bytes),
        dense_bw=dense_bw / 1e6,
        block_penalty=False,
        id_bytes=id_bytes,
        shares=Shares(
            all_to_all=1.0,
            **{
                name: min(_FASTEST, rates["all_to_all", far] / max(rates[name, far], 1e-300))
                for name in ("reduce_scatter", "all_gather")
            },
            all_reduce=1 / _positive(reduced, "all_reduce") / (inter * cluster.devices_per_host),
        ),
        fixed=FixedCosts(
            **fixed,
            fwd_comms=rates["fwd_comms", 0],
            bwd_comms=rates["bwd_comms", 0],
            input_dist_comms=ids[1],
            optimizer=optimizer,
        ),
        starts=_starts(fits),
        weighted_kernel_multiplier=0.0,  # id weights get no gradient here
    )
    found = cluster.model_copy(
        update={
            "hbm_bw" if cluster.device == "cuda" else "ddr_bw": memory / 1e6,
            "intra_bw": intra / 1e6,
            "inter_bw": inter / 1e6,
            "costs": costs,
        }
    )
    if weighted:
        found = _weighted(weighted, found, fits)
    return Cluster.model_validate(found.model_dump()), tuple(fits.done)


def _starts(fits: Fits) -> StartCosts:
    """The start costs of all fits."""
    return StartCosts(
        sharded=StartCost(
            fwd_compute=fits.start("lookup"),
            fwd_comms=fits.start("exchanges"),
            bwd_compute=fits.start("backward"),
            bwd_comms=fits.start("exchanges"),
            input_dist_comms=fits.start("ids"),
        ),
        copied=StartCost(
            fwd_compute=fits.start("lookup of copies"),
            bwd_compute=fits.start("backward of copies"),
            bwd_comms=fits.start("all_reduce", "optimizer of copies"),
        ),
    )


def _fused(observed: Sequence[Observed], fits: Fits) -> tuple[float, KernelCosts, dict[str, float]]:
    """Fit row bytes per millisecond, the weights of the kernel, and milliseconds per shard."""
    columns = _lookups(observed)
    took = np.concatenate([one.rank("fwd_compute") for one in observed])
    back = np.concatenate([one.rank("bwd_compute") for one in observed])
    forward, backward = fits("lookup", columns, took), fits("backward", columns, back)
    bandwidth = float(columns[:, 1].sum() / took.sum())
    kernel = KernelCosts(
        forward=_weights(forward, bandwidth), backward=_weights(backward, bandwidth)
    )
    return bandwidth, kernel, {"fwd_compute": forward[3], "bwd_compute": backward[3]}


def _dense(
    observed: Sequence[Observed], fixed: Mapping[str, float], fits: Fits
) -> tuple[float, KernelCosts, float]:
    """Fit optimizer bytes per millisecond as counted by TorchRec, the weights of the kernel, and
    milliseconds of a table's optimizer."""
    columns = _lookups(observed)[:, :3]
    tables = np.concatenate([optimizer_bytes(one.file) for one in observed])
    number = np.concatenate([shards(one.file) for one in observed])
    took, back = (
        _subtract(np.concatenate([one.rank(part) for one in observed]), fixed[part] * number)
        for part in ("fwd_compute", "bwd_compute")
    )
    forward = fits("lookup of copies", columns, took)
    # The gradient is as large as the table. TorchRec has one constant for all costs that grow with
    # the size of a data-parallel table, so filling the gradient is counted there, in bwd_comms.
    backward = fits("backward of copies", np.column_stack([columns, tables]), back)
    stepped = fits(
        "optimizer of copies",
        np.column_stack([tables, number]),
        np.concatenate([one.rank("optimizer") for one in observed]),
    )
    bandwidth = 1 / _positive(backward[3] + stepped[0], "optimizer of copies")
    kernel = KernelCosts(
        forward=_weights(forward, bandwidth), backward=_weights(backward, bandwidth)
    )
    return bandwidth, kernel, float(stepped[1])


def _exchanges(
    observed: Sequence[Observed],
    sent: Sequence[Mapping[str, FloatArray]],
    memory: float,
    fits: Fits,
) -> dict[tuple[str, int], float]:
    """Fit milliseconds per byte by exchange and tier, and per shard as (part, 0).

    An exchange ends when its slowest rank does: each is one observation, with the bytes of the rank
    that has most.
    """
    names = [(name, tier) for name in EXCHANGES[:-1] for tier in range(len(TIERS))]
    assert EXCHANGES[-1] == "all_reduce"
    rows, took = [], []
    for one, counted in zip(observed, sent, strict=True):
        for part in ("fwd_comms", "bwd_comms"):
            every = counted[part][:, :-1].reshape(one.file.cluster.ranks, -1)
            rank = int(every.sum(axis=1).argmax())
            number = shards(one.file)[rank]
            starts = [number if part == other else 0.0 for other in ("fwd_comms", "bwd_comms")]
            rows.append([*every[rank], *starts])
            copied = copied_bytes(one.file)[rank] / memory if part == "bwd_comms" else 0.0
            took.append(_subtract(one.rank(part).max(), copied))
    found = fits("exchanges", np.array(rows), np.array(took))
    keys = [*names, ("fwd_comms", 0), ("bwd_comms", 0)]
    return dict(zip(keys, found.tolist(), strict=True))


def _ids(
    observed: Sequence[Observed], sent: Sequence[Mapping[str, FloatArray]], fits: Fits
) -> FloatArray:
    """Fit milliseconds per byte of ids and per shard, [2]."""
    rows, took = [], []
    for one, counted in zip(observed, sent, strict=True):
        every = counted["input_dist_comms"].sum(axis=(1, 2))
        rank = int(every.argmax())
        rows.append([every[rank], shards(one.file)[rank]])
        took.append(float(one.rank("input_dist_comms").max()))
    return fits("ids", np.array(rows), np.array(took))


def _links(rates: Mapping[tuple[str, int], float], cluster: Cluster) -> tuple[float, float]:
    """Return bytes per millisecond within and between hosts; the latter needs several hosts."""
    if cluster.hosts == 1:
        return 1 / _positive(rates["all_to_all", 0], "exchanges"), cluster.inter_bw * 1e6
    inter = 1 / _positive(rates["all_to_all", 1], "exchanges")
    # Only the reduce-scatter of table-row-wise tables stays on a host; use the same share.
    within, between = rates["reduce_scatter", 0], rates["reduce_scatter", 1]
    return (inter * between / within if within and between else inter), inter


def _weighted(observed: Sequence[Observed], cluster: Cluster, fits: Fits) -> Cluster:
    """Return the cluster with a fitted factor of the backward of weighted ids over others."""
    costs = cluster.costs
    assert costs is not None
    n, fixed = PARTS.index("bwd_compute"), costs.fixed.bwd_compute
    # The minimum cost of a shard is added on top.
    bare = cluster.model_copy(update={"costs": costs.model_copy(update={"fixed": FixedCosts()})})
    ratios = np.concatenate(
        [
            _subtract(
                one.rank("bwd_compute"),
                fixed * shards(one.file) + costs.starts.sharded.bwd_compute,
            )
            / repriced(one.file, bare).perf()[:, n]
            for one in observed
        ]
    )
    middle = median(ratios.tolist())
    error = float(np.sqrt(np.mean((ratios / middle - 1) ** 2)))
    fits.done.append(Fit(name="backward of weighted", error=error, count=len(ratios), start_ms=0.0))
    update = {"weighted_feature_bwd_compute_multiplier": middle}
    return cluster.model_copy(update={"costs": costs.model_copy(update=update)})


def _lookups(observed: Sequence[Observed]) -> FloatArray:
    """Return bytes of ids, rows and outputs, and shards, by plan and rank, [N, 4]."""
    return np.concatenate(
        [np.column_stack([lookup_bytes(one.file), shards(one.file)]) for one in observed]
    )


def _of_ids(kernel: KernelCosts, id_bytes: float) -> KernelCosts:
    """Convert weights to TorchRec's single id size for lookups and exchanges."""
    forward, backward = (
        each.model_copy(update={"ids": each.ids * BIGINT_DTYPE / id_bytes})
        for each in (kernel.forward, kernel.backward)
        if each is not None
    )
    return KernelCosts(forward=forward, backward=backward)


def _weights(constants: FloatArray, bandwidth: float) -> LookupWeights:
    ids, rows, output = (float(one * bandwidth) for one in constants[:3])
    return LookupWeights(ids=ids, rows=rows, output=output)


def _subtract(whole: Any, known: Any) -> Any:
    """Subtract the known part from a measured time."""
    return np.maximum(whole - known, _LEAST * whole)


def _positive(constant: float, name: str) -> float:
    if constant <= 0:
        raise ValueError(
            f"{name}: measured times do not increase with bytes; calibrate again with more "
            "--repeats, on a less busy machine"
        )
    return float(constant)
