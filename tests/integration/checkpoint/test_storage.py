"""Checkpoints on a full disk, in object stores, and in a folder that another run saves to."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from upath import UPath

from pipeline.checkpoint.layout import find_checkpoint, named_steps, saved_steps
from pipeline.checkpoint.manifest import read_manifest
from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.run_state import initialize
from pipeline.checkpoint.save import Checkpoints
from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.evaluate import evaluate_checkpoint
from pipeline.io.errors import UserError
from pipeline.io.storage import open_folder
from pipeline.ranks.world import this_world
from pipeline.training.build import build
from pipeline.training.resolve_features import resolve_features
from tests.integration.checkpoint.bucket import open_bucket
from tests.integration.training.runs import run
from tests.ranks import run_ranks


@contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[None]:
    """A file system of its own of that size; skips where this process may not mount one."""
    folder.mkdir()
    size = f"size={int(megabytes * 1e6)}"
    words = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs to be root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def on_small_disk(rank: int, size: int, data: Path, out: Path, disk: Path) -> Any:
    """A run that saves after steps 2, 4, 6 on a disk for one checkpoint; then with more room."""
    words = ["--checkpoint.every", "2", "--train.eval_every", "100", "--checkpoint.path"]
    first = run(rank, size, data, out, [*words, f"file://{disk / 'c'}"])
    if rank == 0:
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
    torch.distributed.barrier()
    return first, named_steps(disk / "c"), run(rank, size, data, out, [], resume=True)


def test_a_full_disk_is_reported_after_the_next_step_and_room_fixes_it(
    synthetic: Path, tmp_path: Path
) -> None:
    out, disk = tmp_path / "run", tmp_path / "disk"
    with small_disk(disk, 2.0):
        first, second = run_ranks(on_small_disk, 2, synthetic, out, disk)
        message, steps, again = first
        assert second == first
        assert "not saved: [Errno 28] No space left on device" in message
        assert "MB free there" in message
        assert steps
        assert steps[-1] < 8
        assert again == 0
        assert saved_steps(disk / "c")[-1] == 8
        logged = [
            json.loads(line)["step"]
            for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        ]
    assert logged == sorted(logged)
    assert not (out / "checkpoints").exists()


def in_store(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run that keeps its checkpoints in a store, cut in two; what it prints."""
    open_bucket()
    words = ["--checkpoint.path", "bucket:///a"]
    codes = [run(rank, size, data, out, [*words, "--train.max_steps", "5"])]
    used = run(rank, size, data, out.with_name("other"), words)
    codes.append(run(rank, size, data, out, ["--train.max_steps", "8"], resume=True))
    checkpoint = find_checkpoint(out)
    metrics, _ = evaluate_checkpoint(checkpoint, "val", None, this_world())
    results = json.loads((checkpoint / "results.json").read_text(encoding="utf-8"))
    local = out.with_name("local")
    codes.append(run(rank, size, data, local, ["--checkpoint.keep", "1"]))
    same = json.loads((local / "results.json").read_text(encoding="utf-8")) == json.loads(
        (out / "results.json").read_text(encoding="utf-8")
    )
    return codes, used, str(checkpoint), metrics["click"], results["tasks"]["click"], same


def test_checkpoints_are_stored_at_any_address(synthetic: Path, tmp_path: Path) -> None:
    (found,) = run_ranks(in_store, 1, synthetic, tmp_path / "run")
    codes, used, checkpoint, metrics, results, same = found
    assert codes == [0, 0, 0]
    assert checkpoint in (f"bucket:///a/step-0000000{step}" for step in (5, 8))
    assert used.startswith("checkpoint.path: bucket:///a contains checkpoints (saved up to st")
    assert metrics == pytest.approx(results, rel=1e-5)
    assert same
    assert not (tmp_path / "run" / "checkpoints").exists()


def rows_in_store(rank: int, size: int, data: Path, out: Path) -> Any:
    """Tensors of step 6, saved as changed rows into a store, and whole onto the disk."""
    open_bucket()
    words = ["--train.eval_every", "100", "--checkpoint.keep", "9", "--checkpoint.every"]
    often = ["4", "--checkpoint.incremental_every", "2", "--checkpoint.path", "bucket:///b"]
    assert run(rank, size, data, out / "rows", [*words, *often]) == 0
    assert run(rank, size, data, out / "whole", [*words, "2"]) == 0
    places = ("bucket:///b", out / "whole" / "checkpoints")
    found = [
        evaluate_checkpoint(f"{place}/step-00000006", "val", None, this_world())[0]
        for place in places
    ]
    return read_manifest(open_folder(f"{places[0]}/step-00000006")).base, found


def test_incremental_checkpoints_are_stored_at_any_address(synthetic: Path, tmp_path: Path) -> None:
    ((base, (rows, whole)),) = run_ranks(rows_in_store, 1, synthetic, tmp_path)
    assert base == 4
    assert rows == whole


def without_rename(rank: int, size: int, data: Path, folder: Path) -> Any:
    """A model saved twice where nothing can be renamed, the second time without its end."""
    world = this_world()
    config = Config.load(folder / "config.json")
    schema = Schema.load(config.data.path)
    _, parallel = build(config, resolve_features(config, schema), world)
    initialize(parallel.optimizer)  # as after a step
    store = UPath(f"file://{folder / 'store'}")
    checkpoints = Checkpoints(store, world, config, schema)
    checkpoints.claim()
    initialize(parallel.optimizer)  # no step has made its state
    for step in (1, 2):
        progress = Progress(step=step, source={"epoch": 0})
        checkpoints.save(parallel.model, parallel.optimizer, progress)
    checkpoints.wait()
    if rank == 0:
        (folder / "store" / "step-00000002" / "manifest.json").unlink()
    torch.distributed.barrier()
    with redirect_stdout(io.StringIO()) as said:
        found = checkpoints.load_latest(parallel.model, parallel.optimizer)
    other = Checkpoints(store, world, config, schema)
    other.claim()  # another process would; what it is to this one is the same
    checkpoints.save(parallel.model, parallel.optimizer, Progress(step=3, source={"epoch": 0}))
    with pytest.raises(UserError, match=r"not saved: .*store: another run has been saving here"):
        checkpoints.wait()
    other.save(parallel.model, parallel.optimizer, Progress(step=4, source={"epoch": 0}))
    other.wait()
    assert found is not None
    return found.step, said.getvalue(), saved_steps(store)


def test_a_store_without_rename_is_committed_by_manifests_and_leased_to_one_run(
    synthetic: Path, tmp_path: Path
) -> None:
    resolve("debug", None, ["--data.path", str(synthetic)]).save(tmp_path / "config.json")
    first, second = run_ranks(without_rename, 2, synthetic, tmp_path)
    assert first[0] == second[0] == 1
    assert "step 2 skipped: manifest.json is missing; resuming from step 1" in first[1]
    assert first[2] == second[2]
    assert first[2][-1] == 4
