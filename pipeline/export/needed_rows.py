"""Evaluates batches with those rows of the tables alone that they use.

Tables may be larger than memory. What is built, sharded and run is otherwise the model of training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torchrec import KeyedJaggedTensor
from torchrec.distributed.types import ShardedTensor

from models.tower import TowerFactory
from pipeline.config.tree import Config
from pipeline.data.batch import Batch
from pipeline.evaluate import outputs
from pipeline.export.saved_model import SavedModel
from pipeline.io.arrays import Float32Array
from pipeline.io.errors import UserError
from pipeline.ranks.world import open_world
from pipeline.scoring.tower import part_of
from pipeline.training.build import build
from pipeline.training.resolve_features import Selection
from pipeline.training.train_pipeline import open_pipeline


def evaluated(
    saved: SavedModel,
    config: Config,
    chosen: Selection,
    batches: Sequence[Batch],
    tower: TowerFactory | None,
) -> Float32Array:
    """Return the probabilities [rows, tasks] that evaluation computes in float32, with padding."""
    sharding = config.sharding.model_copy(update={"plan": None, "replica_groups": 1})
    train = config.train.model_copy(update={"bf16": "off", "compile": "off"})
    config = config.model_copy(update={"sharding": sharding, "train": train})
    used = _used_rows(chosen, batches)
    # A table without a used row keeps one, because there are no empty tables.
    tables = tuple(replace(one, rows=max(1, len(used[one.name]))) for one in chosen.tables)
    with open_world() as world:
        step, parallel = build(config, replace(chosen, tables=tables), world, tower)
        _load_head(step.model.head, saved)
        _load_tables(parallel.model, saved, used)
        parallel.model.eval()
        pipeline = open_pipeline(parallel, world)
        numbered = (replace(batch, sparse=_numbered(chosen, batch, used)) for batch in batches)
        with torch.no_grad():
            parts = [
                output.logits_BT.float().sigmoid().cpu().numpy()
                for output in outputs(pipeline, numbered)
            ]
    found: Float32Array = np.concatenate(parts)
    return found


def _used_rows(chosen: Selection, batches: Sequence[Batch]) -> dict[str, Tensor]:
    """Return the rows of each table that the batches use, ascending."""
    used = {}
    for table in chosen.tables:
        parts = [batch.sparse[name].values() for batch in batches for name in table.features]
        used[table.name] = torch.from_numpy(np.unique(torch.cat(parts).long().numpy()))
    return used


def _numbered(chosen: Selection, batch: Batch, used: Mapping[str, Tensor]) -> KeyedJaggedTensor:
    """Return a batch's ids as positions in the rows that are used."""
    table_of = {feature.name: feature.table for feature in chosen.features}
    sparse, keys = batch.sparse, batch.sparse.keys()
    values = [torch.searchsorted(used[table_of[key]], sparse[key].values().long()) for key in keys]
    return KeyedJaggedTensor(
        keys=keys,
        values=torch.cat(values).to(sparse.values().dtype),
        weights=sparse.weights_or_none(),
        lengths=sparse.lengths(),
        stride=sparse.stride(),
    )


def _load_head(head: nn.Module, saved: SavedModel) -> None:
    try:
        head.load_state_dict(part_of(saved.dense(), "head."))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{saved.folder}: is from another model: {reason}") from error


def _load_tables(model: nn.Module, saved: SavedModel, used: Mapping[str, Tensor]) -> None:
    for name, value in model.state_dict().items():
        table = name.split(".")[-2]
        if table not in used or not name.endswith(".weight") or ".head." in name:
            continue
        rows = saved.rows(table, used[table])
        if not isinstance(value, ShardedTensor):
            value[: len(rows)].copy_(rows)
            continue
        for shard in value.local_shards():
            first, column = shard.metadata.shard_offsets
            count, width = shard.metadata.shard_sizes
            part = rows[first : first + count, column : column + width]
            shard.tensor.detach()[: len(part)].copy_(part)
