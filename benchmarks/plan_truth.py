"""Are predicted plans really faster? Many plans of one model, predicted and measured.

    python -m benchmarks.plan_truth --cluster calibrated.yaml --out truth.html

`--cluster`: what `homerec plan calibrate` wrote on this machine; its ranks are started here. Every
plan runs in every round, in another order each time. Prints Spearman's rank correlation of
predicted with measured step times, with TorchRec's own constants of a preset and with the
calibrated ones, by TorchRec's rating (the busiest rank's sum) and by its critical path (every part
waits for its slowest rank); and that of one half of the rounds with the other half, for no
prediction can be nearer to a measurement than the next measurement is. The model's tables are none
of the calibration's. Writes a plot (--out) and, beside it, all of it as JSON.
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
from embeddings.planner.cluster import Cluster, load_cluster
from embeddings.planner.find import quiet
from embeddings.planner.given import repriced
from embeddings.planner.options import PARTS
from embeddings.planner.plan_file import PlanFile
from launchers.local_ranks import run_here
from pipeline.calibrate import measure_all
from pipeline.distributed import World
from pipeline.machine import machine
from pipeline.measure import Taken

PREDICTED = ("stock", "calibrated", "stock, critical path", "calibrated, critical path")


def run(
    world: World, files: Sequence[PlanFile], rounds: int, repeats: int
) -> tuple[list[list[Taken]], str]:
    """On every rank."""

    def heard(turn: int, done: int) -> None:
        if world.is_first and done == len(files):
            Console(stderr=True).print(f"round {turn + 1} of {rounds}", highlight=False)

    taken = measure_all(files, world, rounds=rounds, repeats=repeats, parts=False, heard=heard)
    return taken, machine(world)


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation, ties sharing their mean rank."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Sequence[float]) -> Any:
    every = np.asarray(values)
    return np.array([(every < one).sum() + (every == one).sum() / 2 for one in every])


def critical_path(file: PlanFile) -> float:
    """Milliseconds if all ranks waited for the slowest after each part, as TorchRec's has it.

    Its exchanges wait sharding type by sharding type, too; prefetches are left out.
    """
    perf = np.zeros((len(file.tables), file.cluster.ranks, len(PARTS)))
    for n, placed in enumerate(file.tables):
        np.add.at(perf[n], placed.rank_list(), placed.shard_ms)
    total = 0.0
    for part in ("fwd_compute", "bwd_compute"):
        total += perf[:, :, PARTS.index(part)].sum(axis=0).max()
    kinds = np.array([placed.sharding_type for placed in file.tables])
    for part in ("fwd_comms", "bwd_comms"):
        for kind in set(kinds.tolist()):
            total += perf[kinds == kind][:, :, PARTS.index(part)].sum(axis=0).max()
    return float(total)


def row_of(name: str, file: PlanFile, own: Cluster, taken: Sequence[Taken]) -> dict[str, Any]:
    """A plan's figures, milliseconds."""
    rounds = [[max(row) * 1e3 for row in one.steps] for one in taken]
    low, middle, high = np.percentile(np.concatenate(rounds), (25, 50, 75))
    halves = [np.concatenate(rounds[::2]), np.concatenate(rounds[1::2] or rounds)]
    after = repriced(file, own)
    return {
        "plan": name,
        "measured": float(middle),
        "quartiles": [float(low), float(high)],
        "fastest": min(map(min, rounds)),
        "halves": [[float(np.median(half)), float(half.min())] for half in halves],
        "steps": rounds,
        "stock": file.time_ms,
        "calibrated": after.time_ms,
        "stock, critical path": critical_path(file),
        "calibrated, critical path": critical_path(after),
    }


def judge(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Correlations, and by what factor each prediction is off (geometric mean)."""

    def of(which: str) -> dict[str, float]:
        guess = [row[which] for row in rows]
        off = [abs(np.log(row[which] / row["fastest"])) for row in rows]
        return {
            "spearman of medians": spearman(guess, [row["measured"] for row in rows]),
            "spearman of fastest": spearman(guess, [row["fastest"] for row in rows]),
            "off from fastest by a factor of": float(np.exp(np.mean(off))),
        }

    halves = np.array([row["halves"] for row in rows])
    again = {
        f"spearman of {name}": spearman(halves[:, 0, i], halves[:, 1, i])
        for i, name in enumerate(("medians", "fastest"))
    }
    return {which: of(which) for which in PREDICTED} | {"one half of the rounds, the other": again}


def draw(rows: Sequence[dict[str, Any]], judged: Mapping[str, Any], title: str, out: Path) -> None:
    """Predicted against measured, before and after."""
    from plotly.graph_objects import Figure

    figure = Figure()
    for which in ("stock", "calibrated"):
        figure.add_scatter(
            x=[row[which] for row in rows],
            y=[row["fastest"] for row in rows],
            error_y={
                "type": "data",
                "array": [row["quartiles"][0] - row["fastest"] for row in rows],
                "arrayminus": [0.0] * len(rows),
            },
            text=[row["plan"] for row in rows],
            mode="markers",
            name=f"{which} constants (Spearman {judged[which]['spearman of fastest']:.2f})",
        )
    most = max(max(row["calibrated"], row["fastest"]) for row in rows)
    figure.add_scatter(x=[0, most], y=[0, most], mode="lines", name="equal", line={"dash": "dot"})
    figure.update_layout(
        title={"text": title, "font": {"size": 15}},
        xaxis_title="predicted, milliseconds a step",
        yaxis_title="measured, milliseconds a step (fastest; bar: to the first quartile)",
        template="plotly_white",
        legend={"orientation": "h", "y": -0.15},
    )
    figure.write_html(out, include_plotlyjs=True)


def show(rows: Sequence[dict[str, Any]], judged: Mapping[str, Any]) -> None:
    console = Console(width=140)
    view = Table("plan", "measured ms", "quartiles", "fastest", *PREDICTED)
    for row in sorted(rows, key=lambda row: row["fastest"]):
        view.add_row(
            row["plan"],
            f"{row['measured']:.1f}",
            "{:.1f} to {:.1f}".format(*row["quartiles"]),
            *(f"{row[key]:.1f}" for key in ("fastest", *PREDICTED)),
        )
    console.print(view)
    for name, figures in judged.items():
        said = ", ".join(f"{what} {value:.3f}" for what, value in figures.items())
        console.print(f"{name}: {said}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cluster", required=True, help="calibrated (.yaml)")
    parser.add_argument("--stock", default="cpu", help="preset to compare with")
    parser.add_argument("--tables", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=2048, help="rows a rank")
    parser.add_argument("--seed", type=int, default=7, help="of the model and the plans")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3, help="of a plan in a round")
    parser.add_argument("--out", type=Path, help="plot (.html); its data goes beside it (.json)")
    options = parser.parse_args()
    own = load_cluster(options.cluster)
    shape = {"hosts": own.hosts, "devices_per_host": own.devices_per_host, "ddr_gb": own.ddr_gb}
    stock = load_cluster(options.stock).model_copy(update=shape)
    tables = model(options.tables, options.seed)
    with quiet():
        made = plans(tables, stock, own, options.batch_size, options.seed)
    taken, where = run_here(
        run, own.ranks, list(made.values()), options.rounds, options.repeats,
        local_size=own.devices_per_host,
    )  # fmt: skip
    with quiet():
        rows = [row_of(n, f, own, t) for (n, f), t in zip(made.items(), taken, strict=True)]
    judged = judge(rows)
    show(rows, judged)
    if options.out:
        title = f"{len(rows)} plans of one model: predicted and measured steps, {own.ranks} ranks"
        draw(rows, judged, title, options.out)
        found = {
            "machine": where,
            "cluster": own.model_dump(mode="json"),
            "options": {k: v if isinstance(v, int) else str(v) for k, v in vars(options).items()},
            "judged": judged,
            "plans": rows,
        }
        options.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
