"""A pipe, socket, device or folder in the place of a file: one line, before a step is trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.evaluate import evaluate_checkpoint
from pipeline.io.errors import UserError
from pipeline.ranks.world import this_world
from pipeline.report.run_report import write_report
from tests import odd_files
from tests.integration.training.runs import run
from tests.ranks import run_ranks

FIELDS = ["--train.max_steps", "2", "--train.eval_every", "2", "--train.batch_size", "64"]
OF_A_RUN = (
    "config.json",
    "schema.json",
    "plan.json",
    "metrics.jsonl",
    "saved.json",
    "results.json",
    "health.json",
    "report.html",
    "checkpoints/best.json",
    "checkpoints/lease.json",
    ".replaced.json",
)
OF_A_REPORT = ("metrics.jsonl", "results.json", "health.json", "plan.json", "config.json")


@pytest.fixture(scope="module")
def trained(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("odd") / "run"
    assert run_ranks(run, 1, synthetic, out, FIELDS) == [0]
    return out


def resumed(rank: int, size: int, data: Path, trained: Path, tmp: Path) -> dict[str, Any]:
    """What resumes say, by file and kind."""
    said = {}
    for name in OF_A_RUN:
        for kind in odd_files.KINDS if name == "saved.json" else ("folder", "pipe"):
            out = Path(shutil.copytree(trained, tmp / f"{kind}-{name}".replace("/", "-")))
            odd_files.put(kind, out / name)
            found = run(rank, size, data, out, ["--train.max_steps", "3"], True)
            said[f"{out / name}: is {odd_files.KINDS[kind]}, not a file; "] = found
    return said


def test_a_run_is_not_resumed(synthetic: Path, trained: Path, tmp_path: Path) -> None:
    (said,) = run_ranks(resumed, 1, synthetic, trained, tmp_path)
    assert {line: str(found)[: len(line)] for line, found in said.items()} == {
        line: line for line in said
    }
    for out in tmp_path.iterdir():
        assert not (out / "checkpoints" / "step-00000003").exists()


def opened(rank: int, size: int, data: Path, out: Path, name: str, kind: str) -> Any:
    copy = Path(shutil.copytree(data, out / "data"))
    odd_files.put(kind, copy / name)
    return run(rank, size, copy, out / "run", FIELDS)


@pytest.mark.parametrize("pattern", ["schema.json", "val/*.parquet", "test/*.parquet"])
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_data_are_not_read(synthetic: Path, tmp_path: Path, pattern: str, kind: str) -> None:
    name = str(next(synthetic.glob(pattern)).relative_to(synthetic))
    (said,) = run_ranks(opened, 1, synthetic, tmp_path, name, kind)
    assert f"{tmp_path}/data/{name}: is {odd_files.KINDS[kind]}, not a file" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", OF_A_REPORT)
@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_a_run_is_not_reported(trained: Path, tmp_path: Path, name: str, kind: str) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "run"))
    odd_files.put(kind, out / name)
    with pytest.raises(UserError, match=rf"{name}: is {odd_files.KINDS[kind]}, not a file"):
        write_report(out)


def evaluated(rank: int, size: int, trained: Path, tmp: Path) -> list[str]:
    said = []
    names = ("best.json", "step-00000002/config.json", "step-00000002/manifest.json")
    for name in (*names, "step-00000002/meta.json", "step-00000002/.metadata"):
        out = Path(shutil.copytree(trained, tmp / name.replace("/", "-")))
        odd_files.put("pipe", out / "checkpoints" / name)
        with pytest.raises(UserError) as error:
            evaluate_checkpoint(out, "val", None, this_world())
        said.append(str(error.value))
    return said


def test_a_checkpoint_is_not_evaluated(trained: Path, tmp_path: Path) -> None:
    (said,) = run_ranks(evaluated, 1, trained, tmp_path)
    assert len(said) == 5
