"""A ranker on raw columns is the ranker on what the reader makes of them."""

from __future__ import annotations

from pathlib import Path

import torch
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from pipeline.config.tree import Config
from pipeline.ranks.world import open_world
from pipeline.training.build import build_step
from pipeline.training.dataloader import open_split
from pipeline.training.resolve_features import resolve_features
from tests.pipeline.data.small_folder import random_rows, raw_columns, write_folder


def test_predict_of_raw_columns_equals_forward_of_a_batch(tmp_path: Path) -> None:
    rows = random_rows(40, 0)
    schema = write_folder(tmp_path, rows, files=2, row_group_size=7)
    config = Config.model_validate(
        {"recipe": "debug", "data": {"path": tmp_path}, "train": {"batch_size": 40}}
    )
    chosen = resolve_features(config, schema)
    with open_world() as world:
        step = build_step(config, chosen, world)
        (batch,) = open_split(config, chosen, "train", world, purpose="eval")
    model = step.model.eval()
    model.head.tower.to_empty(device="cpu")
    model.head.tower.init_weights(0)  # type: ignore[operator]
    assert isinstance(model.embeddings, EmbeddingBagCollection)
    model.embeddings.to_empty(device="cpu")
    for weight in model.embeddings.parameters():
        torch.nn.init.normal_(weight)
    with torch.no_grad():
        logits_BT = model.predict(*raw_columns(rows))
        expected_BT = model(batch.sparse, batch.dense)
    assert torch.equal(logits_BT, expected_BT)
    assert not torch.equal(logits_BT[0], logits_BT[1])
