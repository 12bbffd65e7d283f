"""Rows per second of an exported model, against evaluation of the same checkpoint.

    python -m benchmarks.scoring RUN MODEL [--rows 32768] [--rounds 5] [--batch 4096]

RUN is a run or a checkpoint, MODEL what `homerec export` wrote of it. All score the same rows of
the training split, from an Arrow table to probabilities, by turns; each keeps its best time. One
thread and CPU time, so that other work on the machine falls on all alike.

eager        the evaluation path (TorchRec, TrainPipeline) with PyTorch's own operators
evaluate     the same with the compiled kernels of models/layers/fused, as homerec evaluates
score        ExportedModel.score, by form of the tower

Then where the time of `score` goes, and the rate of matrix products that the tower reaches.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from models.layers.fused import kernels
from pipeline.checkpoint.layout import find_checkpoint
from pipeline.checkpoint.load import load_model
from pipeline.config.tree import Config
from pipeline.data.columns import Columns
from pipeline.data.schema import Schema
from pipeline.data.shards import open_shards
from pipeline.evaluate import outputs
from pipeline.predict import batches
from pipeline.ranks.world import World, open_world
from pipeline.scoring.columns import Ids, columns_of, row_text
from pipeline.scoring.model import ExportedModel, parts_of
from pipeline.scoring.tower import available
from pipeline.training.build import build
from pipeline.training.resolve_features import Selection, resolve_features
from pipeline.training.train_pipeline import open_pipeline

_PRODUCT = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, default=32768)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4096, help="rows of a batch of evaluation")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = find_checkpoint(args.run)
    config = Config.load(folder / "config.json")
    chosen = resolve_features(config, Schema.load(folder))
    rows = _rows(config, chosen, args.rows)
    with open_world() as world:
        evaluate = _evaluation(folder, config, chosen, world, rows, args.batch)
        arms: dict[str, Callable[[], object]] = {
            "eager": lambda: _with_kernels(False, evaluate),
            "evaluate": lambda: _with_kernels(True, evaluate),
        }
        manifest = ExportedModel.load(args.model).manifest
        models = {
            form: ExportedModel.load(args.model, form=form)
            for form in available(args.model, manifest, manifest.compiled_for)
        }
        for form, model in models.items():
            arms[f"score, {form}"] = lambda model=model: model.score_prepared(rows)
        arms["product"] = _product()
        best = _best(arms, args.rounds)
    rate = 2 * _PRODUCT**3 / best.pop("product")
    table = Table(title=f"{len(rows):,} rows, one thread; products at {rate / 1e9:.0f} GFLOP/s")
    for name in ("", "rows/s", "against eager", "against evaluate"):
        table.add_column(name, justify="right" if name else "left")
    for name, seconds in best.items():
        ratios = (best["eager"] / seconds, best["evaluate"] / seconds)
        table.add_row(name, f"{len(rows) / seconds:,.0f}", *(f"{one:.2f}" for one in ratios))
    Console().print(table)
    _shares(next(iter(models.values())), rows, rate, args.rounds)


def _rows(config: Config, chosen: Selection, count: int) -> pa.Table:
    columns = Columns(
        chosen.schema,
        features=chosen.features,
        tasks=chosen.labels,
        hash_rows=chosen.schema.hash_rows(config.embeddings.hash_rows),
        with_oracle=False,
    )
    shards = open_shards(config.data.path, chosen.schema, "train", columns.types)
    groups = int(np.searchsorted(np.cumsum(shards.group_rows), count)) + 1
    return shards.read(np.arange(min(groups, len(shards.group_rows)))).slice(0, count)


def _evaluation(
    folder: Path, config: Config, chosen: Selection, world: World, rows: pa.Table, batch: int
) -> Callable[[], object]:
    config = config.model_copy(
        update={"sharding": config.sharding.model_copy(update={"plan": None, "replica_groups": 1})}
    )
    _, parallel = build(config, chosen, world)
    load_model(folder, parallel.model, world)
    parallel.model.eval()

    def evaluate() -> object:
        pipeline = open_pipeline(parallel, world)
        with torch.no_grad():
            found = outputs(pipeline, batches(rows, chosen, config, batch))
            return [output.logits_BT.float().sigmoid().numpy() for output in found]

    return evaluate


def _with_kernels(on: bool, work: Callable[[], object]) -> object:
    os.environ["HOMEREC_KERNELS"] = "1" if on else "0"
    kernels._load.cache_clear()
    try:
        return work()
    finally:
        os.environ["HOMEREC_KERNELS"] = "1"
        kernels._load.cache_clear()


def _product() -> Callable[[], object]:
    square = torch.randn(_PRODUCT, _PRODUCT)
    return lambda: square @ square


def _best(arms: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    best = dict.fromkeys(arms, float("inf"))
    for _ in range(rounds):
        for name, work in arms.items():
            start = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - start)
    return best


@torch.inference_mode()
def _shares(model: ExportedModel, rows: pa.Table, rate: float, rounds: int) -> None:
    """Print where the time goes."""

    columns = columns_of(rows)

    def decode() -> tuple[dict[str, Ids], torch.Tensor]:
        ids = model.ids(columns, Counter(), row_text, without={})
        return ids, model.decoder.numbers(columns, len(rows), row_text)

    parts = list(parts_of(*decode()))
    none = model.lookup.embed({})

    def look_up() -> list[torch.Tensor]:
        return [model.lookup.assemble(none, model.lookup.embed(part), x) for part, x in parts]

    inputs = look_up()
    best = _best(
        {
            "decode": decode,
            "look up": look_up,
            "tower": lambda: [model.tower(v_BF) for v_BF in inputs],
        },
        rounds,
    )
    eager = ExportedModel.load(model.folder, form="eager").tower
    with FlopCounterMode(display=False) as counter:
        _with_kernels(False, lambda: eager(inputs[0]))
    flops = counter.get_total_flops() / len(inputs[0])
    total = sum(best.values())
    shares = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in best.items())
    reached = flops * len(rows) / best["tower"] / rate
    Console().print(
        f"{model.form}: {shares}; {flops / 1e6:.2f} MFLOP a row, the tower at {reached:.0%} of the "
        "products' rate"
    )


if __name__ == "__main__":
    main()
