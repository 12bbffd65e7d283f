"""Relaxations of tables: fewer rules, fp16, fewer replica groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from embeddings.planner.infeasibility.infeasible import Relaxation
from embeddings.planner.infeasibility.trial import Outcome, Outcomes, apart, fits, past
from embeddings.planner.inputs.request import PlanRequest
from embeddings.planner.inputs.rules import Rule

_ROW_WISE = ("row_wise", "table_row_wise")
_HOST_KERNELS = ("fused_uvm_caching", "fused_uvm")


def try_table_relaxations(
    request: PlanRequest, missing: tuple[str, ...], tables: Sequence[str], deadline: float
) -> Outcomes:
    """Yield relaxations that fit. `missing`: those of the `tables` that do not fit."""
    for kind, what, named, changed, inputs in _candidates(request, missing, tables):
        if past(deadline):
            yield Outcome(kind=kind, late=True)
            continue
        took = fits(changed)
        if took is None:
            continue
        far = len(named) / len(tables)
        if kind == "replicas":
            far = apart(changed.setup.replica_groups, request.setup.replica_groups)
        yield Outcome(
            kind=kind,
            change=Relaxation(
                kind=kind, what=what, time=took, ranks=request.cluster.ranks, tables=named,
                inputs=inputs, apart=far,
            ),
        )  # fmt: skip


def _candidates(
    request: PlanRequest, missing: tuple[str, ...], tables: Sequence[str]
) -> Iterator[tuple[str, str, tuple[str, ...], PlanRequest, dict[str, Any]]]:
    """Yield kind, description, tables, changed request and changed inputs."""
    for field, words in (
        ("types", " and ".join(_ROW_WISE)),
        ("kernels", f"the kernels {' and '.join(_HOST_KERNELS)}"),
    ):
        opened = [_opened(rule, missing, field) for rule in request.rules]
        altered = [new for new, old in zip(opened, request.rules, strict=True) if new != old]
        if altered:
            # A rule for many tables is relaxed for all of them.
            others = [name for name in tables if any(rule.matches(name) for rule in altered)]
            named = tuple(dict.fromkeys([*(n for n in missing if n in others), *others]))
            inputs = {"rules": [rule.model_dump(mode="json") for rule in opened]}
            changed = request.changed(rules=opened)
            yield field, f"allow {words} for {_listed(named)}", named, changed, inputs
    single = single_precision(request.module)
    every = tuple(sorted(single))
    halved = tuple(name for name in missing if name in single)
    fp16 = {"dtype": "fp16"}
    if halved:
        changed = request.changed(half=frozenset(halved))
        yield "fp16", f"store {_listed(halved)} in fp16", halved, changed, fp16
    if every and set(every) != set(halved):
        what = f"store all {len(every)} fp32 tables in fp16"
        yield "fp16", what, every, request.changed(half=frozenset(every)), fp16
    groups = request.setup.replica_groups
    for fewer in (n for n in range(groups - 1, 0, -1) if groups % n == 0):
        what = f"{fewer} replica groups instead of {groups}"
        update = {"replica_groups": fewer}
        setup = request.setup.model_copy(update=update)
        yield "replicas", what, (), request.changed(setup=setup), update


def _opened(rule: Rule, names: tuple[str, ...], field: str) -> Rule:
    """Relax rules that match one of `names` to allow row-wise types or host-memory kernels."""
    if not any(rule.matches(name) for name in names):
        return rule
    added = _ROW_WISE if field == "types" else _HOST_KERNELS
    allowed = getattr(rule, field)
    forbidden = getattr(rule, f"forbid_{field}")
    changes: dict[str, Any] = {
        f"forbid_{field}": tuple(name for name in forbidden if name not in added)
    }
    if allowed:
        changes[field] = tuple(dict.fromkeys((*allowed, *added)))
    if field == "types" and (rule.ranks or rule.together):
        return rule
    return rule.model_copy(update=changes)


def single_precision(module: nn.Module) -> set[str]:
    """Return the names of the fp32 tables."""
    return {
        name.split(".")[-2]
        for name, parameter in module.named_parameters()
        if name.endswith(".weight")
        and parameter.element_size() == 4
        and name.split(".")[-3] in ("embedding_bags", "embeddings")
    }


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
