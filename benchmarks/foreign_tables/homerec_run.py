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
    """Run `homerec train` in `folder` and evaluate its best checkpoint."""
    out = f"runs/{seed}"
    words = ["--config", "run.yaml", "--out", out, "--overwrite", "--train.seed", str(seed)]
    start = time.perf_counter()
    _homerec(folder, "train", *words, *fields)
    seconds = time.perf_counter() - start
    val, test = (_auc(folder, out, split) for split in ("val", "test"))
    return Trained(val, test, seconds)


def _auc(folder: Path, out: str, split: str) -> dict[str, float]:
    found = _homerec(folder, "evaluate", "--checkpoint", out, "--split", split, "--json")
    results = json.loads(found.strip().splitlines()[-1])
    return {label: row["auc"] for label, row in results.items()}


def _homerec(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "launchers.cli", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout
