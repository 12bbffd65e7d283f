"""The two commands on a table: init writes the configuration, train does the rest."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.foreign_tables.tables import Foreign


class Trained(NamedTuple):
    """AUC by label, and the seconds of init and train together."""

    val: Mapping[str, float]
    test: Mapping[str, float]
    seconds: float


def write_yaml(name: str, table: Foreign, folder: Path) -> float:
    """Write the table and run `homerec init` in `folder`; returns its seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    table.frame.write_parquet(folder / f"{name}.parquet")
    labels = ",".join(table.labels)
    words = ["--labels", labels, "--no-user", "--split", "column:split"]
    start = time.perf_counter()
    _homerec(folder, "init", f"{name}.parquet", *words, "--out", "run.yaml", "--overwrite")
    return time.perf_counter() - start


def train(folder: Path, seed: int, fields: Sequence[str]) -> Trained:
    """Run `homerec train` in `folder`, and evaluate its best checkpoint on the test split."""
    words = ["--config", "run.yaml", "--out", "run", "--overwrite", "--train.seed", str(seed)]
    start = time.perf_counter()
    _homerec(folder, "train", *words, *fields)
    seconds = time.perf_counter() - start
    best = json.loads((folder / "run/results.json").read_text(encoding="utf-8"))
    found = _homerec(folder, "evaluate", "--checkpoint", "run", "--split", "test", "--json")
    test = json.loads(found.strip().splitlines()[-1])
    return Trained(_auc(best["tasks"]), _auc(test), seconds)


def _auc(results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {label: row["auc"] for label, row in results.items()}


def _homerec(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "launchers.cli", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout
