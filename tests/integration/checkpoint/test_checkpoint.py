"""Checkpoints that are damaged, cut off, in the background, far away or somebody else's."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from upath import UPath

from pipeline.checkpoint.layout import find_checkpoint, named_steps, saved_steps
from pipeline.checkpoint.manifest import Manifest, read_manifest
from pipeline.checkpoint.progress import Progress
from pipeline.checkpoint.run_state import initialise
from pipeline.checkpoint.save import Checkpoints
from pipeline.checkpoint.writer import CheckpointWriter
from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.evaluate import evaluate_checkpoint
from pipeline.io.errors import UserError
from pipeline.io.storage import open_folder
from pipeline.ranks.world import this_world
from pipeline.training.build import assemble
from pipeline.training.resolve_features import select
from tests.integration.training.runs import run, tensors
from tests.ranks import RankError, run_ranks

LAST = "step-00000008"


def changed(path: Path, change: str) -> None:
    data = bytearray(path.read_bytes())
    if change == "flipped":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if change == "cut" else data)
    if change == "gone":
        path.unlink()


# What happens to which file of the newest checkpoint, and what is said of it. Every other file's
# damage is found in tests/pipeline/checkpoint/test_manifest.py.
DAMAGE = [
    ("flipped", "__0_0.distcp", "__0_0.distcp is damaged: its checksum is not that of what was"),
    ("cut", "__0_0.distcp", "__0_0.distcp has "),
    ("gone", "__0_0.distcp", "__0_0.distcp is missing"),
    ("flipped", ".metadata", ".metadata is damaged"),
    ("flipped", "meta.json", "meta.json "),
    ("gone", "manifest.json", "manifest.json is missing"),
]


def damaged_and_resumed(rank: int, size: int, data: Path, folder: Path) -> Any:
    """A run whose newest checkpoint is damaged, each way, and that goes on; and all of them."""
    whole = folder / "whole"
    # One evaluation, so that the last checkpoint is the best and holds results.
    words = ["--checkpoint.asynchronous", "false", "--train.eval_every", "8"]
    assert run(rank, size, data, whole, [*words, "--checkpoint.every", "5"]) == 0
    found = []
    for number, (change, name, _) in enumerate(DAMAGE):
        out = folder / str(number)
        shutil.copytree(whole, out)
        changed(out / "checkpoints" / LAST / name, change)
        with redirect_stdout(io.StringIO()) as said:
            code = run(rank, size, data, out, [], resume=True)
        found.append((code, said.getvalue()))
    broken = folder / "broken"
    shutil.copytree(whole, broken)
    for path in (broken / "checkpoints").glob("step-*/__0_0.distcp"):
        changed(path, "flipped")
    best = find_checkpoint(broken)
    with pytest.raises(UserError, match=r"__0_0.distcp is damaged.*name another checkpoint"):
        evaluate_checkpoint(best, "val", None, this_world())
    return found, run(rank, size, data, broken, [], resume=True)


def test_a_damaged_checkpoint_is_named_and_the_one_before_gone_on_from(
    synthetic: Path, tmp_path: Path
) -> None:
    ((found, none_whole),) = run_ranks(damaged_and_resumed, 1, synthetic, tmp_path)
    whole = tensors(tmp_path / "whole" / "checkpoints" / LAST, tmp_path)
    for number, ((code, said), (_, _, message)) in enumerate(zip(found, DAMAGE, strict=True)):
        assert code == 0, (number, code)
        skipped = [line for line in said.splitlines() if "skipped" in line]
        assert len(skipped) == 1, (number, said)
        (line,) = skipped
        assert line.startswith(f"checkpoint of step 8 skipped: {message}"), line
        assert line.endswith("; going on from step 5")
        again = tensors(tmp_path / str(number) / "checkpoints" / LAST, tmp_path)
        assert again.keys() == whole.keys()
        assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
    assert none_whole.startswith(f"{tmp_path / 'broken' / 'checkpoints'}: no checkpoint here is w")
    assert "(step 8: __0_0.distcp is damaged" in none_whole
    assert "; step 5: __0_0.distcp is damaged" in none_whole


def often(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run that saves as often as it can by the clock, in the background; saved steps."""
    words = ["--checkpoint.minutes", "1e-9", "--checkpoint.keep", "99"]
    words += ["--model.tower.dropout", "0.1"]
    code = run(rank, size, data, out / "often", words)
    plain = ["--model.tower.dropout", "0.1", "--checkpoint.asynchronous", "false"]
    return code, run(rank, size, data, out / "plain", plain)


def test_saves_by_the_clock_and_beside_training_change_nothing(
    synthetic: Path, tmp_path: Path
) -> None:
    assert run_ranks(often, 2, synthetic, tmp_path) == [(0, 0), (0, 0)]
    steps = saved_steps(tmp_path / "often" / "checkpoints")
    assert {5, 8} < set(steps)
    left, right = (
        tensors(tmp_path / name / "checkpoints" / LAST, tmp_path) for name in ("often", "plain")
    )
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
    # One from the middle, taken beside steps, is what a run that ends there has.
    middle = next(step for step in steps if step not in (5, 8))
    words = ["--model.tower.dropout", "0.1", "--train.max_steps", str(middle)]
    assert run_ranks(run, 2, synthetic, tmp_path / "middle", words) == [0, 0]
    name = f"step-{middle:08d}"
    left, right = (
        tensors(tmp_path / run_name / "checkpoints" / name, tmp_path)
        for run_name in ("often", "middle")
    )
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


@contextmanager
def dying(kind: type, verb: str, nth: int) -> Iterator[None]:
    """SIGKILL to this process when `kind.verb` is called for the nth time (from 1)."""
    real, count = getattr(kind, verb), 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, verb, call)
        yield


def killed(rank: int, size: int, data: Path, out: Path, where: str) -> Any:
    """A run that saves after each step, of which a rank is killed in its third save."""
    words = ["--checkpoint.every", "1", "--train.eval_every", "100"]
    kind, verb, which, nth = {
        "data": (CheckpointWriter, "write_data", 1, 3),
        "manifest": (Manifest, "save", 0, 3),
    }[where]
    with dying(kind, verb, nth if rank == which else -1):
        return run(rank, size, data, out, words)


@pytest.mark.parametrize("where", ["data", "manifest"])
def test_a_kill_in_a_save_leaves_the_one_before(
    where: str, synthetic: Path, tmp_path: Path
) -> None:
    """In the middle of a rank's data, and between the data of all and the manifest."""
    out = tmp_path / "run"
    with pytest.raises(RankError, match="-9"):
        run_ranks(killed, 2, synthetic, out, where)
    assert saved_steps(out / "checkpoints") == [1, 2]
    # Rank 0, if it lives to see the other die, clears up itself.
    left = (out / "checkpoints" / ".step-00000003.partial").is_dir()
    assert left or where == "data"
    assert run_ranks(run, 2, synthetic, out, ["--checkpoint.every", "0"], True) == [0, 0]
    assert saved_steps(out / "checkpoints")[-1] == 8
    assert not list((out / "checkpoints").glob(".step*"))


def killed_loading(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run that goes on, of which rank 1 is killed in the middle of reading."""
    with dying(DefaultLoadPlanner, "commit_tensor", 9 if rank == 1 else -1):
        return run(rank, size, data, out, [], resume=True)


def test_a_kill_in_a_load_costs_nothing(synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run_ranks(run, 2, synthetic, out, ["--train.max_steps", "5"]) == [0, 0]
    before = {path: path.read_bytes() for path in (out / "checkpoints").rglob("*.distcp")}
    with pytest.raises(RankError, match="-9"):
        run_ranks(killed_loading, 2, synthetic, out)
    assert {path: path.read_bytes() for path in (out / "checkpoints").rglob("*.distcp")} == before
    assert run_ranks(run, 2, synthetic, out, ["--train.max_steps", "8"], True) == [0, 0]
    assert saved_steps(out / "checkpoints")[-1] == 8


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


def test_a_full_disk_is_told_after_the_next_step_and_room_mends_it(
    synthetic: Path, tmp_path: Path
) -> None:
    out, disk = tmp_path / "run", tmp_path / "disk"
    with small_disk(disk, 2.0):
        first, second = run_ranks(on_small_disk, 2, synthetic, out, disk)
        told, steps, again = first
        assert second == first
        assert "not saved: [Errno 28] No space left on device" in told
        assert "MB free there" in told
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


def in_memory(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run that keeps its checkpoints in fsspec's memory, cut in two; what it says of itself."""
    words = ["--checkpoint.path", "memory://bucket/a"]
    codes = [run(rank, size, data, out, [*words, "--train.max_steps", "5"])]
    used = run(rank, size, data, out.with_name("other"), words)
    codes.append(run(rank, size, data, out, ["--train.max_steps", "8"], resume=True))
    checkpoint = find_checkpoint(out)
    figures, _ = evaluate_checkpoint(checkpoint, "val", None, this_world())
    results = json.loads((checkpoint / "results.json").read_text(encoding="utf-8"))
    local = out.with_name("local")
    codes.append(run(rank, size, data, local, ["--checkpoint.keep", "1"]))
    same = json.loads((local / "results.json").read_text(encoding="utf-8")) == json.loads(
        (out / "results.json").read_text(encoding="utf-8")
    )
    return codes, used, str(checkpoint), figures["click"], results["tasks"]["click"], same


def test_checkpoints_live_at_any_address(synthetic: Path, tmp_path: Path) -> None:
    (found,) = run_ranks(in_memory, 1, synthetic, tmp_path / "run")
    codes, used, checkpoint, figures, results, same = found
    assert codes == [0, 0, 0]
    assert checkpoint in (f"memory://bucket/a/step-0000000{step}" for step in (5, 8))
    assert used.startswith("checkpoint.path: memory://bucket/a holds checkpoints (saved up to st")
    assert figures == pytest.approx(results, rel=1e-5)
    assert same
    assert not (tmp_path / "run" / "checkpoints").exists()


def rows_in_memory(rank: int, size: int, data: Path, out: Path) -> Any:
    """Figures of step 6, saved as changed rows into fsspec's memory, and whole onto the disk."""
    words = ["--train.eval_every", "100", "--checkpoint.keep", "9", "--checkpoint.every"]
    often = ["4", "--checkpoint.incremental_every", "2", "--checkpoint.path", "memory://bucket/b"]
    assert run(rank, size, data, out / "rows", [*words, *often]) == 0
    assert run(rank, size, data, out / "whole", [*words, "2"]) == 0
    places = ("memory://bucket/b", out / "whole" / "checkpoints")
    found = [
        evaluate_checkpoint(f"{place}/step-00000006", "val", None, this_world())[0]
        for place in places
    ]
    return read_manifest(open_folder(f"{places[0]}/step-00000006")).base, found


def test_changed_rows_live_at_any_address(synthetic: Path, tmp_path: Path) -> None:
    ((base, (rows, whole)),) = run_ranks(rows_in_memory, 1, synthetic, tmp_path)
    assert base == 4
    assert rows == whole


def without_rename(rank: int, size: int, data: Path, folder: Path) -> Any:
    """A model saved twice where nothing can be renamed, the second time without its end."""
    world = this_world()
    config = Config.load(folder / "config.json")
    schema = Schema.load(config.data.path)
    _, parallel = assemble(config, select(config, schema), world)
    initialise(parallel.optimizer)  # as after a step
    store = UPath(f"file://{folder / 'store'}")
    checkpoints = Checkpoints(store, world, config, schema)
    checkpoints.claim()
    initialise(parallel.optimizer)  # no step has made its state
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
    with pytest.raises(UserError, match=r"not saved: .*store: another run saves here since"):
        checkpoints.wait()
    other.save(parallel.model, parallel.optimizer, Progress(step=4, source={"epoch": 0}))
    other.wait()
    assert found is not None
    return found.step, said.getvalue(), saved_steps(store)


def test_a_store_without_rename_has_what_a_manifest_says_and_one_owner(
    synthetic: Path, tmp_path: Path
) -> None:
    resolve("debug", None, ["--data.path", str(synthetic)]).save(tmp_path / "config.json")
    first, second = run_ranks(without_rename, 2, synthetic, tmp_path)
    assert first[0] == second[0] == 1
    assert "step 2 skipped: manifest.json is missing; going on from step 1" in first[1]
    assert first[2] == second[2]
    assert first[2][-1] == 4
