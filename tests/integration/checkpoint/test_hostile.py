"""A checkpoint from someone else runs no code, whichever command reads it."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from launchers.cli.main import main
from pipeline.checkpoint.manifest import META, NAME, digest, read_sealed, write_sealed
from pipeline.evaluate import evaluate_checkpoint
from pipeline.io.errors import UserError
from pipeline.ranks.world import this_world
from tests.hostile import Touch, assert_works
from tests.integration.training.runs import run
from tests.ranks import run_ranks

REASON = ".metadata is not DCP's metadata (it names posix.system, which no checkpoint contains)"


def poison(step: Path, sign: Path) -> None:
    """Code in the metadata of a checkpoint, under valid checksums."""
    path = step / ".metadata"
    metadata = pickle.loads(path.read_bytes())
    metadata.planner_data = Touch(sign)
    payload = pickle.dumps(metadata)
    assert_works(payload, sign)
    path.write_bytes(payload)
    manifest = read_sealed(step / NAME)
    manifest["files"][".metadata"] = asdict(digest(path))
    write_sealed(step / NAME, manifest)


def rejected(rank: int, size: int, data: Path, folder: Path) -> Any:
    """What each reader says of a run whose checkpoints are hostile, but for the first."""
    out = folder / "run"
    words = ["--checkpoint.asynchronous", "false", "--checkpoint.keep", "9"]
    assert run(rank, size, data, out, words) == 0
    steps = sorted((out / "checkpoints").glob("step-*"))
    for step in steps[1:]:
        poison(step, folder / "sign")
    said: dict[str, Any] = {}
    with pytest.raises(UserError) as raised:
        evaluate_checkpoint(steps[-1], "val", None, this_world())
    said["evaluate"] = str(raised.value)
    again = folder / "again"
    shutil.copytree(out, again)
    with redirect_stdout(io.StringIO()) as printed:
        assert run(rank, size, data, again, [], resume=True) == 0
    said["resume"] = printed.getvalue()
    return said


def test_no_reader_runs_what_is_in_a_checkpoint(
    synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (said,) = run_ranks(rejected, 1, synthetic, tmp_path)
    assert REASON in said["evaluate"]
    assert f"checkpoint of step 8 skipped: {REASON}; resuming from step 5" in said["resume"]
    out = tmp_path / "run"
    assert main(["checkpoint", "show", str(out / "checkpoints" / "step-00000008")]) == 2
    assert REASON in capsys.readouterr().err
    assert main(["checkpoint", "verify", str(out), "--json"]) == 1
    problems = {one["step"]: one["problem"] for one in json.loads(capsys.readouterr().out)}
    assert problems == {5: None, 8: REASON}
    assert main(["checkpoint", "ls", str(out)]) == 0
    assert not (tmp_path / "sign").exists()


def store(step: Path, name: str, value: torch.Tensor) -> None:
    """Put a tensor of a checkpoint into a file of its own, under valid checksums."""
    path = step / ".metadata"
    metadata = pickle.loads(path.read_bytes())
    index = next(index for index in metadata.storage_data if index.fqn.endswith(name))
    file = step / metadata.storage_data[index].relative_path
    stored = io.BytesIO()
    torch.save(value, stored)
    place = {"offset": file.stat().st_size, "length": len(stored.getvalue())}
    metadata.storage_data[index] = replace(metadata.storage_data[index], **place)
    with file.open("ab") as stream:
        stream.write(stored.getvalue())
    path.write_bytes(pickle.dumps(metadata))
    manifest = read_sealed(step / NAME)
    manifest["files"] |= {one.name: asdict(digest(one)) for one in (path, file)}
    write_sealed(step / NAME, manifest)


def invalid_state(rank: int, size: int, data: Path, folder: Path) -> Any:
    """What each rank says of a checkpoint whose tensors are not what a run saves."""
    out = folder / "run"
    assert run(rank, size, data, out, ["--train.max_steps", "2", "--train.eval_every", "100"]) == 0
    said = []
    for name, value in (
        (".step", torch.tensor(-1e9)),
        ("random.1", torch.zeros(5056, dtype=torch.uint8)),
    ):
        again = folder / name
        if rank == 0:
            shutil.copytree(out, again)
            store(again / "checkpoints" / "step-00000002", name, value)
        torch.distributed.barrier()
        said.append(run(rank, size, data, again, ["--train.max_steps", "4"], resume=True))
    meta = read_sealed(out / "checkpoints" / "step-00000002" / META)
    torch.distributed.barrier()
    window = {"since_auc": 0, "held_by_auc": 0, "rows": 2**24 - 1}
    if rank == 0:
        hostile = meta | {"window": window, "world_size": 2**19}
        write_sealed(out / "checkpoints" / "step-00000002" / META, hostile)
    torch.distributed.barrier()
    said.append(run(rank, size, data, out, ["--train.max_steps", "4"], resume=True))
    return said


def test_values_that_no_run_saves_are_one_line_on_every_rank(
    synthetic: Path, tmp_path: Path
) -> None:
    first, second = run_ranks(invalid_state, 2, synthetic, tmp_path)
    assert first == second
    step, random, window = first
    assert "has done -1e+09 steps; load another checkpoint of the run" in step
    assert "the random state of rank 1 is invalid; load another checkpoint" in random
    assert "meta.json: a window of 16777215 rows on each of 524288 ranks" in window
