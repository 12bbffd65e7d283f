"""Only a run of ours is ever replaced."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from pipeline.checkpoint.progress import Progress
from pipeline.claim_run import claim
from pipeline.config.recipes import recipe
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.data.split_counts import Split
from pipeline.io.errors import UserError
from pipeline.run_folder import _finish, _write_report, describe
from tests.integration.sharding.test_sharding import SCHEMA
from tests.pipeline.report.test_run_report import make_run as make_finished_run

TABLE = {
    "table": "a",
    "rows": 3,
    "dim": 4,
    "dtype": "fp32",
    "features": ["a"],
    "sharding_type": "table_wise",
    "compute_kernel": "fused",
    "ranks": [0],
    "bytes": 48,
    "shards": [],
}


def make_run(folder: Path) -> None:
    folder.mkdir()
    recipe("debug").save(folder / "config.json")
    (folder / "schema.json").write_text("{}", encoding="utf-8")


def test_a_run_is_replaced_when_asked(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    replaced = claim(tmp_path / "run", tmp_path / "run" / "checkpoints", False, True)
    assert replaced is not None
    replaced.discard()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_run_is_kept_when_not_asked(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    with pytest.raises(
        UserError, match="contains a run; pass --resume to continue it, --overwrite"
    ):
        claim(tmp_path / "run", tmp_path / "run" / "checkpoints", False, False)
    claim(tmp_path / "run", tmp_path / "run" / "checkpoints", True, False)
    assert (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("config", "schema"), [("{}", True), ('{"port": 1}', True), ("{", True), (None, False)]
)
def test_what_is_no_run_is_not_deleted(config: str | None, schema: bool, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    make_run(folder)
    if config is not None:
        (folder / "config.json").write_text(config, encoding="utf-8")
    if not schema:
        (folder / "schema.json").unlink()
    (folder / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match="not replaced"):
        claim(folder, folder / "checkpoints", False, True)
    assert (folder / "thesis.tex").exists()


def start(folder: Path, *, dies_at: int) -> None:
    """`claim` and `describe`, killed in the writing of file number `dies_at` (from 0)."""
    claim(folder, folder / "checkpoints", False, False)
    replace, done = Path.replace, 0

    def dying(path: Path, target: Path) -> Path:
        nonlocal done
        if done == dies_at:
            raise KeyboardInterrupt
        done += 1
        return replace(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        describe(
            folder,
            folder / "checkpoints",
            recipe("debug"),
            SCHEMA,
            {"version": 1, "tables": [TABLE]},
            Progress(),
            8,
        )


def test_the_line_of_a_start_is_one_line_however_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / ("a" * 100) / "run"
    out.mkdir(parents=True)
    plan = {"version": 1, "tables": [TABLE]}
    describe(out, out / "checkpoints", recipe("debug"), SCHEMA, plan, Progress(step=7), 8)
    line = f"training debug in {out}, steps 7 to 8, resumed after step 7\n"
    assert line in capsys.readouterr().out


@pytest.mark.parametrize("dies_at", [0, 1, 2])
def test_a_start_that_died_is_begun_again(dies_at: int, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        start(out, dies_at=dies_at)
    assert len(list(out.iterdir())) == dies_at + 1
    (out / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match="is not empty and not a run"):
        claim(out, out / "checkpoints", False, False)
    (out / "thesis.tex").unlink()
    start(out, dies_at=3)
    assert {path.name for path in out.iterdir()} == {"config.json", "plan.json", "schema.json"}


@pytest.mark.parametrize("name", ["schema.json", "plan.json"])
def test_files_of_others_are_no_leftovers(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"mine": true}', encoding="utf-8")
    with pytest.raises(UserError, match="is not empty and not a run"):
        claim(tmp_path, tmp_path / "checkpoints", False, False)


def test_preparing_data_does_not_delete_a_run(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    with pytest.raises(UserError, match="not a prepared folder, so it is not overwritten"):
        prepare_synthetic(tmp_path / "run", rows=100, seed=0, overwrite=True)
    assert (tmp_path / "run" / "config.json").exists()


def test_a_report_that_cannot_be_written_is_one_line_with_the_cause(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"its report was not written: .*metrics\.jsonl"):
        _write_report(tmp_path)


def test_a_finished_run_says_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make_finished_run(tmp_path / "it's $HOME; <b>")
    health = json.loads((out / "health.json").read_text(encoding="utf-8"))
    health["diagnosis"] = [one for one in health["diagnosis"] if one["severity"] != "wrong"]
    (out / "health.json").write_text(json.dumps(health), encoding="utf-8")
    splits = dict.fromkeys(("train", "val", "test"), Split(rows=9))
    schema = SCHEMA.model_copy(update={"splits": splits})
    _finish(out, out / "checkpoints", schema)
    said = capsys.readouterr().out
    assert "Metrics of the val split at the best step, 20" in said
    assert "experts:         healthy" in said
    (line,) = [line for line in said.splitlines() if line.startswith("evaluate again:")]
    _, _, command = line.partition(": ")
    words = ["homerec", "evaluate", "--checkpoint", str(out), "--split", "test"]
    assert shlex.split(command) == words
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    for row in results["tasks"].values():
        row["auc"] = row["auc"] and 0.5
    (out / "results.json").write_text(json.dumps(results), encoding="utf-8")
    _finish(out, out / "checkpoints", schema)
    said = capsys.readouterr().out
    assert "healthy" not in said
    assert "experts:         nothing to say of them: no task's AUC is above chance" in said
