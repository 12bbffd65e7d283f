"""DCP's metadata are read as data: a file cannot name what is not in one of our checkpoints."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from pipeline.checkpoint.dcp_metadata import parse_metadata
from pipeline.checkpoint.manifest import CorruptError
from tests.hostile import Touch, assert_works


def saved(**parts: Any) -> Metadata:
    """A table of two shards."""
    chunks = [
        ChunkStorageMetadata(offsets=torch.Size([row, 0]), sizes=torch.Size([5, 4]))
        for row in (0, 5)
    ]
    fields: dict[str, Any] = {
        "state_dict_metadata": {
            "table": TensorStorageMetadata(
                properties=TensorProperties(dtype=torch.bfloat16),
                size=torch.Size([10, 4]),
                chunks=chunks,
            ),
        },
        "planner_data": {"table": ("model", "table")},
        "storage_data": {
            MetadataIndex("table", [0, 0], 0): _StorageInfo("__0_0.distcp", 0, 40),
            MetadataIndex("table", [5, 0], 1): _StorageInfo("__1_0.distcp", 7, 40),
        },
        "storage_meta": StorageMeta(save_id="a"),
        "version": "1.0.0",
    }
    return Metadata(**{**fields, **parts})


def test_what_dcp_writes_is_read_as_it_was() -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        found = parse_metadata(io.BytesIO(pickle.dumps(saved(), protocol)))
        assert found.state_dict_metadata == saved().state_dict_metadata
        assert found.storage_data == saved().storage_data
        assert [index.index for index in found.storage_data] == [0, 1]
        assert found.version == "1.0.0"


@pytest.mark.parametrize("part", ["planner_data", "storage_meta", "version", "storage_data"])
def test_code_in_any_part_is_not_run(part: str, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    payload = pickle.dumps(saved(**{part: Touch(sign)}))
    assert_works(payload, sign)
    with pytest.raises(CorruptError, match=r"it names posix\.system, which no checkpoint contains"):
        parse_metadata(io.BytesIO(payload))
    assert not sign.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins getattr",
        "builtins eval",
        "torch load",
        "torch hub",
        "torch.distributed.checkpoint.metadata os.system",
    ],
)
def test_nothing_else_can_be_named(name: str) -> None:
    module, _, attribute = name.partition(" ")
    payload = b"c" + module.encode() + b"\n" + attribute.encode() + b"\n."
    with pytest.raises(CorruptError, match="which no checkpoint contains"):
        parse_metadata(io.BytesIO(payload))


def test_a_file_cannot_change_the_classes_it_names() -> None:
    # BUILD with a pair as state sets attributes, here of the class: version 'a' for all.
    payload = (
        b"ctorch.distributed.checkpoint.metadata\nMetadata\n"
        b"(N(dVversion\nVa\nstb."  # state (None, {"version": "a"})
    )
    before = Metadata.version
    with pytest.raises(CorruptError):
        parse_metadata(io.BytesIO(payload))
    assert Metadata.version is before


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"storage_data": {MetadataIndex("a"): _StorageInfo("../../secret", 0, 1)}},
            "'../../secret' is not a file of the checkpoint",
        ),
        (
            {"storage_data": {MetadataIndex("a"): _StorageInfo("/etc/passwd", 0, 1)}},
            "'/etc/passwd' is not a file of the checkpoint",
        ),
        ({"storage_data": {MetadataIndex("a"): _StorageInfo("b", -1, 1)}}, "-1, expected a number"),
        ({"storage_data": {MetadataIndex("a"): _StorageInfo("b", 0, 1, ["x"])}}, "transformed"),
        ({"storage_data": {"a": 1}}, "str, expected MetadataIndex"),
        ({"storage_data": None}, "NoneType, expected dict"),
        ({"state_dict_metadata": {"a": 1}}, "int, expected TensorStorageMetadata"),
        (
            {
                "state_dict_metadata": {
                    "a": TensorStorageMetadata(
                        TensorProperties(),
                        torch.Size([2]),
                        [ChunkStorageMetadata(torch.Size([1]), torch.Size([2]))],
                    )
                }
            },
            r"a chunk ends at \[3\] in a tensor of \[2\]",
        ),
        (
            {"state_dict_metadata": {"a": BytesStorageMetadata()}},
            r"BytesStorageMetadata, which no checkpoint contains",
        ),
        ({"storage_data": {}}, "table is not stored whole"),
        (
            {"storage_data": {MetadataIndex("table", [0, 0]): _StorageInfo("b", 0, 39)}},
            "table is not stored whole",
        ),
        (
            {
                "state_dict_metadata": {
                    "a": TensorStorageMetadata(TensorProperties(), torch.Size([2]), [])
                }
            },
            "the chunks of a are not all of it",
        ),
    ],
)
def test_what_does_not_hold_is_rejected(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(CorruptError, match=message):
        parse_metadata(io.BytesIO(pickle.dumps(saved(**parts))))


_TWICE = b"\x94" + b"".join(b"0h%ch%c\x86\x94" % (i, i) for i in range(60))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"})" + 300_000 * b"\x85" + b"Ns.", "a key is a tuple"),  # the stack ends before the hash
        (b"})" + _TWICE + b"Ns.", "a key is a tuple"),  # 2^60 parts
        (b"}()" + _TWICE + b"Nu.", "a key is a tuple"),
        (b"()" + _TWICE + b"Nd.", "a key is a tuple"),
        (b"()" + _TWICE + b"\x91.", "it contains a set"),
        (b"\x8f()" + _TWICE + b"\x90.", "it contains a set"),
    ],
    ids=["deep", "wide", "several", "dict", "frozenset", "set"],
)
def test_no_key_is_hashed_that_takes_forever(payload: bytes, message: str) -> None:
    with pytest.raises(CorruptError, match=message):
        parse_metadata(io.BytesIO(b"\x80\x04" + payload))


def test_bytes_that_are_no_pickle_are_rejected() -> None:
    whole = pickle.dumps(saved())
    for data in (b"", b"not a pickle", whole[: len(whole) // 2], pickle.dumps([1])):
        with pytest.raises(CorruptError, match="is not DCP's metadata"):
            parse_metadata(io.BytesIO(data))
