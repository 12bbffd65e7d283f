"""Charts of ranks: Plotly figures with a tooltip for each rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from embeddings.planner.inputs.arrays import FloatArray
from embeddings.planner.inputs.cluster import GIB
from embeddings.planner.plans.reshard import Reshard
from embeddings.planner.plans.storage import KINDS, memory_by_kind
from embeddings.planner.problem.options import PARTS
from pipeline.io.json_types import Json
from pipeline.planning.page.numbers import memory, milliseconds, percent, traffic
from pipeline.planning.page.plan_view import PART_TITLES, PlanView

# Okabe and Ito's palette: blue is forward, orange backward; dark is compute, light comms.
PART_COLORS = {
    "fwd_compute": "#0072B2",
    "fwd_comms": "#56B4E9",
    "bwd_compute": "#D55E00",
    "bwd_comms": "#E69F00",
    "prefetch_compute": "#009E73",
    "sync": "#CC79A7",
}
KIND_COLORS = dict(zip(KINDS, ("#CC79A7", "#7A4E8A", "#009E73"), strict=True))
# Above this many ranks, use filled step lines, because bars are slow to draw.
MOST_BARS = 64


class BarStack(NamedTuple):
    """A part of every rank's bar."""

    title: str
    color: str
    values: FloatArray


def time_charts(plans: Sequence[PlanView]) -> list[Json]:
    """One for each plan, on the same axes."""
    top = 1.04 * max(max(plan.load.max(), plan.file.lower_bound_ms) for plan in plans)
    return [_time_chart(plan, float(top)) for plan in plans]


def _time_chart(plan: PlanView, top: float) -> Json:
    stacks = time_stacks(plan)
    exchange = plan.file.perf()[:, PARTS.index("input_dist_comms")]
    tips = []
    for rank in range(plan.world):
        lines = [f"{plan.rank_name(rank)}: {milliseconds(plan.load[rank])}",
                 *_parts(stacks, rank, milliseconds)]  # fmt: skip
        if exchange[rank]:
            lines.append(f"overlapped: input exchange {milliseconds(exchange[rank])}")
        tips.append("\n".join(lines))
    label = (
        f"{plan.name}: milliseconds per step by rank and part; busiest rank {plan.busiest}, "
        f"{milliseconds(plan.load[plan.busiest])}; mean {milliseconds(plan.mean)}"
    )
    figure = figure_of(stacks, tips, "ms", top, 240, world=plan.world)
    bound = plan.file.lower_bound_ms
    figure["layout"]["shapes"] = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": bound, "y1": bound,
         "line": {"color": "--ink", "width": 1.5, "dash": "dash"}}
    ]  # fmt: skip
    return {"title": plan.name, "label": label, "figure": figure}


def time_stacks(plan: PlanView) -> list[BarStack]:
    """Return the parts that take time on some rank, in stacking order."""
    values = dict(zip(PARTS, plan.file.perf().T, strict=True)) | {"sync": plan.file.sync()}
    return [
        BarStack(PART_TITLES[part], color, values[part])
        for part, color in PART_COLORS.items()
        if values[part].any()
    ]


def memory_charts(plans: Sequence[PlanView]) -> list[Json]:
    """One for each memory and plan, those of one memory on the same axes."""
    found: list[Json] = []
    for name, i in dict.fromkeys(pair for plan in plans for pair in plan.memories()):
        top = 1.06 * max(max(plan.used[:, i].max(), plan.room[:, i].max()) for plan in plans) / GIB
        found += [_memory_chart(plan, name.upper(), i, float(top)) for plan in plans]
    return found


def _memory_chart(plan: PlanView, name: str, i: int, top: float) -> Json:
    kinds = memory_by_kind(plan.file)[:, :, i]
    stacks = [
        BarStack(kind, color, kinds[k].astype(float))
        for k, (kind, color) in enumerate(KIND_COLORS.items())
    ]
    used, room = plan.used[:, i], plan.room[:, i]
    tips = []
    for rank in range(plan.world):
        share = percent(used[rank] / room[rank] if room[rank] else 0)
        tips.append("\n".join([
            f"{plan.rank_name(rank)}: {memory(used[rank])}",
            *_parts(stacks, rank, memory),
            f"available for tables {memory(room[rank])} ({share} used)",
        ]))  # fmt: skip
    rank = int(used.argmax())
    label = (
        f"{plan.name}: {name} by rank; most on rank {rank}, {memory(used[rank])} of "
        f"{memory(room[rank])}"
    )
    figure = figure_of(stacks, tips, f"{name} (GiB)", top, 190, world=plan.world, scale=GIB)
    figure["data"].append({
        "type": "scatter", "mode": "lines", "y": _short(room / GIB), "hoverinfo": "skip",
        "line": {"shape": "hv", "color": "--ink", "width": 2},
    })  # fmt: skip
    return {"title": f"{name}, {plan.name}", "label": label, "figure": figure}


def traffic_chart(moves: Reshard) -> Json:
    stacks = [
        BarStack("sends", "#D55E00", moves.sent.sum(axis=1).astype(float)),
        BarStack("receives", "#0072B2", moves.sent.sum(axis=0).astype(float)),
    ]
    total = stacks[0].values + stacks[1].values
    tips = [
        "\n".join([f"rank {rank}: {traffic(total[rank])}", *_parts(stacks, rank, traffic)])
        for rank in range(len(total))
    ]
    top = 1.05 * float(total.max()) / 1e9
    label = f"Bytes that ranks send and receive; busiest is rank {moves.busiest}"
    figure = figure_of(stacks, tips, "GB", top, 190, world=len(total), scale=1e9)
    return {"title": "", "label": label, "figure": figure, "key": key(stacks)}


def key(stacks: Sequence[BarStack]) -> list[tuple[str, str]]:
    """Return titles and colors."""
    return [(stack.title, stack.color) for stack in stacks]


def _parts(stacks: Sequence[BarStack], rank: int, text: Any) -> list[str]:
    """Return the parts of a bar from top to bottom."""
    return [f"{one.title} {text(one.values[rank])}" for one in reversed(stacks) if one.values[rank]]


def figure_of(
    stacks: Sequence[BarStack],
    tips: list[str],
    axis: str,
    top: float,
    height: int,
    *,
    world: int,
    scale: float = 1.0,
) -> Json:
    """Return a figure. x is the position of a rank: its index, until the page reorders ranks."""
    data: list[Json] = []
    for stack in stacks:
        trace: Json = {"y": _short(stack.values / scale), "hoverinfo": "none"}
        if world > MOST_BARS:
            trace |= {"type": "scatter", "mode": "lines", "stackgroup": "parts",
                      "line": {"shape": "hv", "width": 0}, "fillcolor": stack.color}  # fmt: skip
        else:
            trace |= {"type": "bar", "marker": {"color": stack.color}}
        data.append(trace)
    layout = {
        "height": height, "barmode": "stack", "bargap": 0.15, "showlegend": False,
        "hovermode": "x", "hoverdistance": -1, "margin": {"l": 64, "r": 12, "t": 10, "b": 26},
        "xaxis": {"showgrid": False, "zeroline": False},
        "yaxis": {"title": {"text": axis}, "range": [0, top or 1], "fixedrange": True},
    }  # fmt: skip
    return {"data": data, "layout": layout, "tips": tips}


def _short(values: FloatArray) -> list[float]:
    return [float(f"{value:.5g}") for value in np.asarray(values, float).tolist()]
