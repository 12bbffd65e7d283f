"""Checkpoints of changed rows: base and rows together are the whole one, under any ranks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from pipeline.checkpoint.manifest import read_manifest
from pipeline.checkpoint.reader import CheckpointReader
from pipeline.checkpoint.saved_table import SavedTable
from pipeline.checkpoint.verify import find_damage
from pipeline.export.export import export
from pipeline.export.saved_model import SavedModel
from tests.integration.checkpoint.test_corrupt import changed
from tests.integration.training.runs import run, saved_again, tensors
from tests.ranks import run_ranks

# Tables in pieces of each kind; 240 rows divide by 3 ranks.
_WORDS = ["--train.batch_size", "240", "--train.eval_every", "100", "--checkpoint.keep", "99"]


def trained(rank: int, size: int, data: Path, folder: Path, types: str) -> Any:
    """A run that saves whole ones after steps 4 and 8, the other even ones as changed rows."""
    words = [*_WORDS, "--sharding.types", types, "--model.tower.dropout", "0.1"]
    often = ["--checkpoint.every", "4", "--checkpoint.incremental_every", "2"]
    return (
        run(rank, size, data, folder / "often", [*words, *often]),
        run(rank, size, data, folder / "whole", [*words, "--checkpoint.every", "2"]),
    )


def step(folder: Path, number: int) -> Path:
    return folder / "checkpoints" / f"step-{number:08d}"


def sizes(checkpoint: Path) -> dict[str, int]:
    """Of each tensor in a checkpoint's own files that has rows, how many."""
    found = CheckpointReader(checkpoint).read_metadata().state_dict_metadata
    tensors = {n: t.size for n, t in found.items() if isinstance(t, TensorStorageMetadata)}
    return {name: size[0] for name, size in tensors.items() if size}


def assert_same(left: Path, right: Path, scratch: Path) -> None:
    ours, theirs = tensors(left, scratch), tensors(right, scratch)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.fixture(scope="module", params=["row_wise", "table_wise,column_wise"])
def runs(
    request: pytest.FixtureRequest, synthetic: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("incremental")
    assert run_ranks(trained, 2, synthetic, folder, request.param) == [(0, 0)] * 2
    return folder


@pytest.mark.parametrize("ranks", [1, 3])
def test_base_and_increment_are_the_full_one_on_other_ranks(
    runs: Path, ranks: int, tmp_path: Path
) -> None:
    bases = {number: read_manifest(step(runs / "often", number)).base for number in (2, 4, 6, 8)}
    assert bases == {2: None, 4: None, 6: 4, 8: None}
    added, whole = (sizes(step(runs / "often", number)) for number in (6, 4))
    rows = [size for name, size in added.items() if name.endswith("|rows")]
    assert 0 < max(rows) < max(size for name, size in whole.items() if name.endswith(".weight"))
    cut = tmp_path / "cut"
    shutil.copytree(runs / "often", cut)
    shutil.rmtree(step(cut, 8))
    copy = tmp_path / "again"
    assert run_ranks(saved_again, ranks, cut, copy) == [6] * ranks
    ours, theirs = tensors(step(copy, 6), tmp_path), tensors(step(runs / "whole", 6), tmp_path)
    names = {name for name in theirs if not name.startswith(("/random/", "/window/"))}
    assert names == {name for name in ours if not name.startswith(("/random/", "/window/"))}
    assert [name for name in names if not torch.equal(ours[name], theirs[name])] == []


def test_resuming_from_an_incremental_checkpoint_changes_nothing(
    runs: Path, synthetic: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(runs / "often", cut)
    shutil.rmtree(step(cut, 8))
    assert run_ranks(run, 2, synthetic, cut, [], True) == [0, 0]
    assert_same(step(cut, 8), step(runs / "whole", 8), tmp_path)


def test_damage_of_checkpoint_or_base_is_named(runs: Path, tmp_path: Path) -> None:
    for name, at, beginning in (
        ("base", 4, "its base, step-00000004: __0_0.distcp is corrupt"),
        ("own", 6, "__0_0.distcp is corrupt"),
    ):
        copy = tmp_path / name
        shutil.copytree(runs / "often", copy)
        changed(step(copy, at) / "__0_0.distcp", "flipped")
        found = find_damage(step(copy, 6))
        assert found is not None
        assert found.startswith(beginning)
        assert find_damage(step(copy, 6), contents=False) is None
    shutil.rmtree(step(copy, 4))
    assert find_damage(step(copy, 6)) == "its base, step 4, is missing"
    shutil.copytree(step(runs / "whole", 4), step(copy, 4))
    assert find_damage(step(copy, 6)) == "step 4 is not its original base"


@pytest.mark.parametrize("number", [4, 6])
def test_rows_of_a_table_are_read_by_blocks(runs: Path, number: int, tmp_path: Path) -> None:
    """Of shards of any kind, whole or with changed rows; then the exported model is that one."""
    place = step(runs / "often", number)
    saved = SavedModel(place)
    whole = tensors(step(runs / "whole", number), tmp_path)
    tables = {name: whole[name] for name in whole if name.startswith("/model/model.embeddings.")}
    assert len(tables) > 5
    for name, expected in tables.items():
        table = SavedTable(saved.reader, saved.metadata, name[1:].replace("/", "."))
        for rows in (7, 10_000):
            assert torch.equal(torch.cat(list(table.blocks(rows))), expected)
    manifest = export(place, tmp_path / "model", compile_tower="off")
    assert manifest.origin.step == number
    assert manifest.parity is not None
    assert manifest.parity.max_difference <= 1e-6
