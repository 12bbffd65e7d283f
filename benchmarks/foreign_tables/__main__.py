"""Compares `homerec init` and `homerec train`, as they are, with LightGBM tuned per label.

    pip install --no-deps -r requirements/benchmarks.txt
    OMP_NUM_THREADS=1 python -m benchmarks.foreign_tables --tables affairs,adult --seeds 3

A line a label: AUC of the test split, the same for both. LightGBM's search, its early stopping and
homerec's best checkpoint all use the validation split. Options that follow go to 'homerec train'.
Results of LightGBM are kept in --out, because its search takes longest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.foreign_tables.homerec_run import Trained, train, write_yaml
from benchmarks.foreign_tables.lightgbm_search import Tuned, tuned_lightgbm
from benchmarks.foreign_tables.tables import TABLES, Foreign

_HEAD = (
    "| table | rows | columns | label | LightGBM | homerec | difference | spread | val "
    "| LightGBM s | homerec s |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", default=",".join(TABLES), help="names, A,B,...")
    parser.add_argument("--seeds", type=int, default=1, help="runs of homerec")
    parser.add_argument("--trials", type=int, default=20, help="trials of LightGBM for each label")
    parser.add_argument("--out", type=Path, default=Path("runs/foreign_tables"))
    args, fields = parser.parse_known_args(words)
    sys.stdout.write(_HEAD)
    for name in args.tables.split(","):
        table = TABLES[name]()
        folder = args.out.resolve() / name
        init_s = write_yaml(name, table, folder)
        tuned = _kept_lightgbm(table, args.trials, folder / "lightgbm.json")
        runs = [train(folder, seed, fields) for seed in range(args.seeds)]
        sys.stdout.write("".join(_lines(name, table, tuned, runs, init_s)))
        sys.stdout.flush()
    return 0


def _kept_lightgbm(table: Foreign, trials: int, file: Path) -> Tuned:
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["trials"] == trials:
            return Tuned(kept["auc"], kept["seconds"])
    tuned = tuned_lightgbm(table, trials, seed=0)
    file.write_text(json.dumps({"trials": trials, **tuned._asdict()}), encoding="utf-8")
    return tuned


def _lines(
    name: str, table: Foreign, tuned: Tuned, runs: Sequence[Trained], init_s: float
) -> list[str]:
    rows, columns = len(table.frame), table.frame.width - len(table.labels) - 1
    seconds = init_s + statistics.mean(run.seconds for run in runs)
    lines = []
    for label in table.labels:
        found = [run.test[label] for run in runs]
        mean, val = statistics.mean(found), statistics.mean(run.val[label] for run in runs)
        lines.append(
            f"| {name} | {rows:,} | {columns} | {label} | {tuned.auc[label]:.4f} | {mean:.4f} "
            f"| {mean - tuned.auc[label]:+.4f} | {max(found) - min(found):.4f} | {val:.4f} "
            f"| {tuned.seconds:.0f} | {seconds:.0f} |\n"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
