"""A batch's file comes back as it was; any other file is rejected, and none runs code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torchrec import KeyedJaggedTensor

from launchers.cli.main import main
from pipeline.data.batch import Batch
from pipeline.faults.batch_file import dump_batch, load_batch, show_batch
from pipeline.io.errors import UserError
from tests.hostile import Touch


def batch() -> Batch:
    sparse = KeyedJaggedTensor(
        keys=["user", "tag"],
        values=torch.arange(5, dtype=torch.int32),
        lengths=torch.tensor([1, 1, 3, 0], dtype=torch.int32),
    )
    return Batch(
        dense=torch.tensor([[1.0], [float("nan")]]),
        sparse=sparse,
        labels=torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
        weights=torch.ones(2),
        users=torch.arange(2),
    )


def test_a_batch_comes_back(tmp_path: Path) -> None:
    dump_batch(tmp_path / "a.pt", batch(), {"step": 3, "why": "loss"})
    found, about = load_batch(tmp_path / "a.pt")
    assert about == {"step": 3, "why": "loss"}
    assert torch.equal(found.labels, batch().labels)
    assert found.sparse.keys() == ["user", "tag"]
    assert "tag: 3 ids, rows 2 to 4" in show_batch(tmp_path / "a.pt")


def test_a_file_runs_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, sign = tmp_path / "a.pt", tmp_path / "sign"
    dump_batch(path, batch(), {"step": Touch(sign)})
    assert main(["debug", "batch", str(path)]) == 2
    error = capsys.readouterr().err
    assert "contains more than tensors, numbers and text" in error
    assert error.count("\n") == 1
    assert not sign.exists()


@pytest.mark.parametrize(
    "parts",
    [
        {"about": 3},
        {"weights": 7},
        {"weights": torch.ones(3)},
        {"dense": torch.ones(2)},
        {"labels": None},
        {"keys": [1, 2]},
        {"keys": ["user"]},
        {"lengths": torch.tensor([9, 9, 9, 9])},
        {"lengths": torch.tensor([-1, 1, 3, 2])},
        {"values": "text"},
    ],
)
def test_parts_that_do_not_belong_together_are_rejected(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.pt"
    dump_batch(path, batch(), {})
    torch.save({**torch.load(path, weights_only=True), **parts}, path)
    with pytest.raises(UserError, match=r"not a readable batch .*give a file of RUN/debug"):
        load_batch(path)
