"""Compares `homerec init` and `homerec train`, as they are, with LightGBM tuned per label.

    pip install --no-deps -r requirements/benchmarks.txt
    OMP_NUM_THREADS=1 python -m benchmarks.foreign_tables --tables affairs,adult --seeds 3

A seed draws the split, the first weights and the trials of LightGBM. Both have the same columns,
rows and split. LightGBM's search, its early stopping and homerec's best checkpoint all use the
validation split; a line a label compares AUC of the test split. Options that follow go to 'homerec
train'. Results of LightGBM are kept in --out.
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
from benchmarks.foreign_tables.tables import TABLES, Foreign, load

_HEAD = (
    "| table | rows | columns | label | LightGBM | homerec | difference | of each seed | val "
    "| LightGBM s | homerec s |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", default=",".join(TABLES), help="names, A,B,...")
    parser.add_argument("--seeds", type=int, default=1, help="number of splits and runs")
    parser.add_argument("--trials", type=int, default=20, help="trials of LightGBM for each label")
    parser.add_argument("--out", type=Path, default=Path("runs/foreign_tables"))
    args, fields = parser.parse_known_args(words)
    sys.stdout.write(_HEAD)
    for name in args.tables.split(","):
        pairs = []
        for seed in range(args.seeds):
            table, folder = load(name, seed), args.out.resolve() / name / str(seed)
            init_s = write_yaml(name, table, folder)
            tuned = _kept_lightgbm(table, args.trials, seed, folder / "lightgbm.json")
            trained = train(folder, seed, fields)
            pairs.append((tuned, trained._replace(seconds=init_s + trained.seconds)))
        sys.stdout.write("".join(lines(name, table, pairs)))
        sys.stdout.flush()
    return 0


def _kept_lightgbm(table: Foreign, trials: int, seed: int, file: Path) -> Tuned:
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["trials"] == trials:
            return Tuned(kept["auc"], kept["seconds"])
    tuned = tuned_lightgbm(table, trials, seed)
    file.write_text(json.dumps({"trials": trials, **tuned._asdict()}), encoding="utf-8")
    return tuned


def lines(name: str, table: Foreign, pairs: Sequence[tuple[Tuned, Trained]]) -> list[str]:
    """Return a row of the table for each label; `pairs`: one a seed. Figures are means over them,
    and the difference of each seed, homerec less LightGBM."""
    mean = statistics.mean
    about = f"{name} | {len(table.frame):,} | {len(table.features)}"
    seconds = f"{mean(t.seconds for t, _ in pairs):.0f} | {mean(h.seconds for _, h in pairs):.0f}"
    found = []
    for label in table.labels:
        tuned, ours = [t.auc[label] for t, _ in pairs], [h.test[label] for _, h in pairs]
        differences = [our - best for our, best in zip(ours, tuned, strict=True)]
        found.append(
            f"| {about} | {label} | {mean(tuned):.4f} | {mean(ours):.4f} "
            f"| {mean(differences):+.4f} "
            f"| {' '.join(f'{each:+.4f}' for each in differences)} "
            f"| {mean(h.val[label] for _, h in pairs):.4f} | {seconds} |\n"
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
