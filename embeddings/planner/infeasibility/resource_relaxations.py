"""Relaxations of resources: the minimum increase of memory or hosts, or decrease of the batch."""

from __future__ import annotations

import math
from typing import Any

from embeddings.planner.infeasibility.infeasible import Relaxation
from embeddings.planner.infeasibility.trial import Outcome, Outcomes, apart, fits, past
from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.problem.pricing import all_options

_MOST_RANKS = 4096
_MOST_MEMORY = 64
# Relative precision: an offered amount is at most this much above one that does not fit.
_CLOSE = 0.01


def try_resource_relaxations(request: PlanRequest, deadline: float) -> Outcomes:
    """Yield relaxations of device memory, host memory, rows per rank and hosts, one at a time."""
    yield from _more_memory(request, deadline)
    yield _smaller_batch(request, deadline)
    # With replicas, fewer groups are tried instead: more hosts may not be divisible into groups.
    if request.setup.replica_groups == 1:
        yield _more_hosts(request, deadline)


def _more_memory(request: PlanRequest, deadline: float) -> Outcomes:
    cluster = request.cluster
    if past(deadline):
        yield Outcome(kind="memory", late=True)
        return
    known = all_options(request)  # costs do not depend on the amount of memory
    for field, words in (("hbm_gb", "HBM per device"), ("ddr_gb", "memory per host")):
        each = cluster.by_rank(field)
        has, most = float(each.min()), _MOST_MEMORY * float(each.max())
        if not has:
            continue
        low, high, took = has, has, None

        def tried(amount: float, field: str = field) -> float | None:
            return fits(request.changed(cluster=cluster.at_least(field, amount)), known)

        while took is None and high < most and not past(deadline):
            low, high = high, 2 * high
            took = tried(high)
        while took is not None and high - low > _CLOSE * low and not past(deadline):
            middle = _rounded((low + high) / 2)
            middle_took = tried(middle)
            if middle_took is None:
                low = middle
            else:
                high, took = middle, middle_took
        unequal = "at least " if has < float(each.max()) else ""
        change = took and Relaxation(
            kind="memory", what=f"{unequal}{high:,.6g} GiB of {words} instead of {has:,.6g}",
            time=took, ranks=cluster.ranks, inputs=_memory_inputs(cluster, field, high),
            apart=apart(high, has),
        )  # fmt: skip
        yield Outcome(kind="memory", change=change or None, late=not change and past(deadline))


def _memory_inputs(cluster: Cluster, field: str, amount: float) -> dict[str, Any]:
    raised = cluster.at_least(field, amount)
    inputs = {field: getattr(raised, field)}
    if raised.other_devices != cluster.other_devices:
        inputs["other_devices"] = [
            other.model_dump(mode="json", exclude_defaults=True) for other in raised.other_devices
        ]
    return inputs


def _rounded(amount: float) -> float:
    """Round to four digits, as printed."""
    return float(f"{amount:.4g}")


def _smaller_batch(request: PlanRequest, deadline: float) -> Outcome:
    has = request.batch_size
    if has == 1 or past(deadline):
        return Outcome(kind="batch", late=has > 1)
    low, high = 1, has
    took = fits(request.changed(batch_size=1))
    while took is not None and high - low > max(1, int(_CLOSE * low)) and not past(deadline):
        middle = min(max(math.isqrt(low * high), low + 1), high - 1)
        middle_took = fits(request.changed(batch_size=middle))
        if middle_took is None:
            high = middle
        else:
            low, took = middle, middle_took
    if took is None:
        return Outcome(kind="batch")
    what = f"a batch of {low:,} rows per rank instead of {has:,}"
    change = Relaxation(
        kind="batch", what=what, time=took, ranks=request.cluster.ranks,
        inputs={"batch_size": low}, apart=apart(low, has),
    )  # fmt: skip
    return Outcome(kind="batch", change=change)


def _more_hosts(request: PlanRequest, deadline: float) -> Outcome:
    """Find the minimum number of hosts by doubling, then bisection."""
    per_host, has = request.cluster.devices_per_host, request.cluster.hosts
    low, high, took = has, has, None

    def tried(hosts: int) -> float | None:
        cluster = request.cluster.model_copy(update={"hosts": hosts})
        return fits(request.changed(cluster=cluster))

    while took is None and 2 * high * per_host <= _MOST_RANKS and not past(deadline):
        low, high = high, high * 2
        took = tried(high)
    while took is not None and high - low > 1 and not past(deadline):
        middle = (low + high) // 2
        middle_took = tried(middle)
        if middle_took is None:
            low = middle
        else:
            high, took = middle, middle_took
    if took is None:
        return Outcome(kind="ranks", late=past(deadline))
    ranks = high * per_host
    what = f"{ranks} ranks ({high} hosts) instead of {request.cluster.ranks}"
    change = Relaxation(
        kind="ranks", what=what, time=took, ranks=ranks, inputs={"hosts": high},
        apart=apart(high, has),
    )  # fmt: skip
    return Outcome(kind="ranks", change=change)
