"""Are predicted plans really faster? Many plans of one model, predicted and measured.

    python -m benchmarks.plan_truth --cluster calibrated.yaml --out truth.html

`--cluster`: what `homerec plan calibrate` wrote on this machine; its ranks are started here. Every
plan runs in every round, in another order each time. Prints Spearman's rank correlation of
predicted with measured step times, with TorchRec's own constants of a preset and with the
calibrated ones, without and with what each sharding type takes by itself; and that of one half of
the rounds with the other half, for no prediction can be nearer to a measurement than the next
measurement is. The model's tables are none of the calibration's. Writes a plot (--out) and, beside
it, all of it as JSON.

A step is measured whole, by the clock (median and fastest, on the slowest rank) and by the busiest
rank's processor time; and in parts, each at its fastest, summed up on the busiest rank, which is
what TorchRec's rating says and what other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.truth_plans import model, plans
from embeddings.planner.inputs.cluster import Cluster, load_cluster
from embeddings.planner.inputs.torchrec_log import torchrec_silenced
from embeddings.planner.plans.fixed_plan import repriced
from embeddings.planner.plans.plan_file import PlanFile
from launchers.local.local_ranks import run_ranks
from pipeline.planning.calibrate import measure_all
from pipeline.planning.measure import TIMED, RawTimings
from pipeline.ranks.machine import machine
from pipeline.ranks.world import World

DRAWN = ("fastest step", "fastest parts")
MEASURES = ("median step", "fastest step", "fastest parts", "processor time")
AGAIN = "one half of the rounds, the other"
PREDICTED = ("stock", "calibrated, without starts", "calibrated")


def run(
    world: World, files: Sequence[PlanFile], rounds: int, repeats: int
) -> tuple[list[list[RawTimings]], str]:
    """On every rank."""

    def on_progress(turn: int, done: int) -> None:
        if world.is_first and done == len(files):
            Console(stderr=True).print(f"round {turn + 1} of {rounds}", highlight=False)

    timings = measure_all(files, world, rounds=rounds, repeats=repeats, on_progress=on_progress)
    return timings, machine(world)


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation, ties sharing their mean rank."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Sequence[float]) -> Any:
    every = np.asarray(values)
    return np.array([(every < one).sum() + (every == one).sum() / 2 for one in every])


def measures(timings: Sequence[RawTimings]) -> dict[str, float]:
    """Milliseconds of a step, in several ways."""
    steps = [max(row) * 1e3 for one in timings for row in one.steps]
    busy = [max(row) * 1e3 for one in timings for row in one.busy]
    every = [row for one in timings for row in one.parts]
    parts = [
        sum(min(row[rank][part] for row in every) for part in TIMED[:4]) * 1e3
        for rank in range(len(every[0]))
    ]
    return {
        "median step": float(np.median(steps)),
        "fastest step": min(steps),
        "fastest parts": max(parts),
        "processor time": float(np.median(busy)),
    }


def row_of(
    name: str, file: PlanFile, own: Cluster, timings: Sequence[RawTimings]
) -> dict[str, Any]:
    """A plan's times, milliseconds."""
    after = repriced(file, own)
    return {
        "plan": name,
        **measures(timings),
        "steps": [[max(row) * 1e3 for row in one.steps] for one in timings],
        "halves": [measures(timings[::2]), measures(timings[1::2] or timings)],
        "stock": file.time_ms,
        "calibrated": after.expected_ms(),
        "calibrated, without starts": after.time_ms,
    }


def judge(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Spearman by prediction and measure; of one half of the rounds with the other; factors."""

    def column(name: str) -> list[float]:
        return [row[name] for row in rows]

    found = {
        which: {name: spearman(column(which), column(name)) for name in MEASURES}
        for which in PREDICTED
    }
    found[AGAIN] = {
        name: spearman(*([row["halves"][i][name] for row in rows] for i in range(2)))
        for name in MEASURES
    }
    return found


def factors(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """By how much a prediction is off, geometric mean."""
    return {
        which: {
            name: float(np.exp(np.mean([abs(np.log(row[which] / row[name])) for row in rows])))
            for name in MEASURES
        }
        for which in PREDICTED
    }


def draw(rows: Sequence[dict[str, Any]], judged: Mapping[str, Any], title: str, out: Path) -> None:
    """Predicted against measured, before and after."""
    from plotly.subplots import make_subplots

    figure = make_subplots(cols=len(DRAWN), subplot_titles=DRAWN)
    for n, name in enumerate(DRAWN):
        for which, color in (("stock", "#bbb"), ("calibrated", "#1f77b4")):
            figure.add_scatter(
                x=[row[which] for row in rows],
                y=[row[name] for row in rows],
                text=[row["plan"] for row in rows],
                mode="markers",
                marker={"color": color},
                name=f"{name}, {which} constants: Spearman {judged[which][name]:.2f}",
                row=1,
                col=n + 1,
            )
        shown = [row[which] for row in rows for which in ("stock", "calibrated", name)]
        ends = [0.8 * min(shown), 1.2 * max(shown)]
        figure.add_scatter(
            x=ends, y=ends, mode="lines", line={"dash": "dot", "color": "#888"},
            showlegend=False, row=1, col=n + 1,
        )  # fmt: skip
    figure.update_xaxes(title="predicted, milliseconds a step", type="log", dtick="D2")
    figure.update_yaxes(title="measured, milliseconds a step", type="log", dtick="D2")
    figure.update_layout(
        title={"text": title, "font": {"size": 15}},
        template="plotly_white",
        legend={"orientation": "h", "y": -0.2},
    )
    figure.write_html(out, include_plotlyjs=True, config={"displayModeBar": False})


def show(rows: Sequence[dict[str, Any]], judged: Mapping[str, Any], off: Mapping[str, Any]) -> None:
    console = Console(width=140)
    view = Table("plan", *MEASURES, *PREDICTED[:2], title="Milliseconds")
    for row in sorted(rows, key=lambda row: row["fastest parts"]):
        view.add_row(row["plan"], *(f"{row[key]:.1f}" for key in (*MEASURES, *PREDICTED[:2])))
    console.print(view)
    for title, measures in (("Spearman", judged), ("Off by a factor of", off)):
        view = Table(title, *MEASURES)
        for name, by_measure in measures.items():
            view.add_row(name, *(f"{by_measure[key]:.3f}" for key in MEASURES))
        console.print(view)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cluster", required=True, help="calibrated (.yaml)")
    parser.add_argument("--stock", default="cpu", help="preset to compare with")
    parser.add_argument("--tables", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=512, help="rows a rank")
    parser.add_argument("--seed", type=int, default=7, help="of the model and the plans")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=12, help="of a plan in a round")
    parser.add_argument("--out", type=Path, help="plot (.html); its data goes beside it (.json)")
    options = parser.parse_args()
    own = load_cluster(options.cluster)
    shape = {
        "hosts": own.hosts,
        "devices_per_host": own.devices_per_host,
        "ddr_gb": own.ddr_gb,
        "costs": None,
    }
    stock = load_cluster(options.stock).model_copy(update=shape)
    tables = model(options.tables, options.seed)
    with torchrec_silenced():
        made = plans(tables, stock, own, options.batch_size, options.seed)
    timings, where = run_ranks(
        run, own.ranks, list(made.values()), options.rounds, options.repeats,
        local_size=own.devices_per_host,
    )  # fmt: skip
    with torchrec_silenced():
        rows = [row_of(n, f, own, t) for (n, f), t in zip(made.items(), timings, strict=True)]
    judged, off = judge(rows), factors(rows)
    show(rows, judged, off)
    if options.out:
        title = f"{len(rows)} plans of one model: predicted and measured steps, {own.ranks} ranks"
        draw(rows, judged, title, options.out)
        found = {
            "machine": where,
            "cluster": own.model_dump(mode="json"),
            "options": {k: v if isinstance(v, int) else str(v) for k, v in vars(options).items()},
            "spearman": judged,
            "off by a factor of": off,
            "plans": rows,
        }
        options.out.with_suffix(".json").write_text(
            json.dumps(found, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
