"""What a checkpoint holds besides metadata is loaded as tensors, or rejected."""

from __future__ import annotations

import io
import pickle
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
from pipeline.checkpoint.reader import CheckpointReader, load_tensor
from tests.hostile import Touch


def loaded(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    load(state, storage_reader=CheckpointReader(folder), no_dist=True)
    return state


def test_tensors_are_loaded(tmp_path: Path) -> None:
    state: dict[str, Any] = {"weights": torch.arange(4.0), "step": {"a": torch.tensor(3)}}
    save(state, storage_writer=FsspecWriter(str(tmp_path)), no_dist=True)
    found = loaded(tmp_path, {"weights": torch.zeros(4), "step": {"a": torch.tensor(0)}})
    assert torch.equal(found["weights"], state["weights"])
    assert int(found["step"]["a"]) == 3


def test_what_is_no_tensor_is_not_loaded(tmp_path: Path) -> None:
    """DCP would put the value in the place of the weights, which keep their initial values."""
    sign = tmp_path / "sign"
    for value in (0.1, Touch(sign)):
        save({"weights": value}, storage_writer=FsspecWriter(str(tmp_path / "s")), no_dist=True)
        with pytest.raises(CorruptError, match=r"it names .*BytesStorageMetadata"):
            CheckpointReader(tmp_path / "s").read_metadata()
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
    with pytest.raises(CorruptError, match=r"changed\|a contains more than numbers"):
        load_tensor(hostile, "changed|a")
    other = io.BytesIO()
    torch.save([1], other)
    other.seek(0)
    with pytest.raises(CorruptError, match=r"changed\|a is not a tensor"):
        load_tensor(other, "changed|a")
    assert not sign.exists()
