"""What a checkpoint holds besides metadata is loaded as plain values, or rejected."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint._fsspec_filesystem import FsspecWriter
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from pipeline.checkpoint.load import origin
from pipeline.checkpoint.manifest import CorruptError
from pipeline.checkpoint.reader import CheckpointPlanner, CheckpointReader, load_plain
from tests.hostile import Touch

PLAIN: dict[str, Any] = {"rate": 0.1, "betas": (0.9, 0.999), "name": "a", "none": None}


def loaded(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    reader, planner = CheckpointReader(folder), CheckpointPlanner()
    load(state, storage_reader=reader, planner=planner, no_dist=True)
    return state


def test_tensors_and_plain_values_are_loaded(tmp_path: Path) -> None:
    state = {**PLAIN, "weights": torch.arange(4.0), "step": OrderedDict(a=torch.tensor(3))}
    save(state, storage_writer=FsspecWriter(str(tmp_path)), no_dist=True)
    empty = {**dict.fromkeys(PLAIN, 0), "weights": torch.zeros(4), "step": {"a": torch.tensor(0)}}
    found = loaded(tmp_path, empty)
    assert {name: found[name] for name in PLAIN} == PLAIN
    assert torch.equal(found["weights"], state["weights"])
    assert int(found["step"]["a"]) == 3


def test_code_in_an_entry_is_not_run(tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    save({"extra": Touch(sign)}, storage_writer=FsspecWriter(str(tmp_path / "saved")), no_dist=True)
    with pytest.raises(CheckpointException, match="extra contains more than tensors") as raised:
        loaded(tmp_path / "saved", {"extra": 0})
    assert isinstance(origin(raised.value), CorruptError)
    assert not sign.exists()


def test_code_in_the_place_of_a_tensor_is_not_run(tmp_path: Path) -> None:
    folder, sign = tmp_path / "saved", tmp_path / "sign"
    save({"weights": torch.zeros(4)}, storage_writer=FsspecWriter(str(folder)), no_dist=True)
    (file,) = folder.glob("*.distcp")
    hostile = io.BytesIO()
    torch.save(Touch(sign), hostile)
    file.write_bytes(hostile.getvalue())
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    for part in metadata.storage_data.values():
        part.offset, part.length = 0, len(hostile.getvalue())
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointException, match="contains more than numbers") as raised:
        loaded(folder, {"weights": torch.zeros(4)})
    assert isinstance(origin(raised.value), CorruptError)
    hostile.seek(0)
    with pytest.raises(CorruptError, match=r"changed\|a contains more than tensors"):
        load_plain(hostile, "changed|a")
    assert not sign.exists()
