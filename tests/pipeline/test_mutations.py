"""Whatever becomes of a file in the folder of a run, a start reads it or one line says why not."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.checkpoint.lease import Lease
from pipeline.claim_run import check_resumed, claim
from pipeline.config.overrides import resolve
from pipeline.config.recipes import recipe
from pipeline.io.errors import UserError
from pipeline.io.set_aside import SAVED, saved_by_this_job, standing
from pipeline.run_folder import _finish
from pipeline.tracking.tracker import drop_after
from tests.integration.sharding.test_sharding import SCHEMA
from tests.mutations import assert_read_or_refused, text_mutations
from tests.pipeline.report.test_run_report import make_run


def check_saved(run: Path) -> None:
    """That of `recover`, `--resume auto` and a resume without checkpoints."""
    saved_by_this_job(run)
    with contextlib.suppress(UserError):
        check_resumed(run, run / "checkpoints", None, True)
    check_resumed(run, run / "checkpoints", 1, True)


def check_lease(run: Path) -> None:
    lease = Lease(run)
    text = (run / "lease.json").read_bytes()
    lease.acquire()
    (run / "lease.json").write_bytes(text)
    with contextlib.suppress(UserError):
        lease.check()


def recover(run: Path) -> None:
    standing(run)
    claim(run, run / "checkpoints", True, False)


def finish(run: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        _finish(run, run / "checkpoints", SCHEMA)


FILES: dict[str, tuple[object, Callable[[Path], object]]] = {
    SAVED: ({"step": 3, "folder": "checkpoints", "job": {"TORCHX_JOB_ID": "a"}}, check_saved),
    "lease.json": ({"run": "a", "host": "b", "pid": 3, "began": "2026"}, check_lease),
    ".replaced.json": ({"id": "a", "outside": [], "complete": False}, recover),
    "train.yaml": (
        {"recipe": "debug", "train": {"max_steps": 3}, "model": {"tower": {"kind": "home"}}},
        lambda run: resolve(None, run / "train.yaml", []),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_or_one_line_says_why_not(tmp_path: Path, name: str) -> None:
    value, read = FILES[name]
    recipe("debug").save(tmp_path / "config.json")
    (tmp_path / name).write_text(json.dumps(value), encoding="utf-8")
    read(tmp_path)
    for changed in text_mutations(json.dumps(value)):
        (tmp_path / name).write_bytes(changed)
        assert_read_or_refused(lambda: read(tmp_path), changed)


def test_a_log_is_continued_or_one_line_says_why_not(tmp_path: Path) -> None:
    log = make_run(tmp_path / "run") / "metrics.jsonl"
    for changed in text_mutations(log.read_text(encoding="utf-8")):
        log.write_bytes(changed)
        assert_read_or_refused(lambda: drop_after(log, 10), changed)


@pytest.mark.parametrize("name", ["results.json", "health.json"])
def test_a_run_ends_or_one_line_says_why_not(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run")
    monkeypatch.setattr("pipeline.run_folder._write_report", lambda out: None)  # in its own test
    for changed in text_mutations((run / name).read_text(encoding="utf-8")):
        (run / name).write_bytes(changed)
        assert_read_or_refused(lambda: finish(run), changed)
