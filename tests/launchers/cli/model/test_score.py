"""`homerec export` and `homerec score`: what they print, and their exit codes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from launchers.cli.main import main
from pipeline.data.prepare.synthetic import prepare_synthetic

TASKS = ["click", "long_view", "finish", "like", "comment_enter", "profile_enter"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    prepare_synthetic(folder / "data", rows=4_000, seed=3)
    words = ["train", "debug", "--data.path", str(folder / "data"), "--out", str(folder / "run")]
    assert main([*words, "--train.max_steps", "4"]) == 0
    return folder / "run"


def test_a_checkpoint_is_exported_and_scores(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = tmp_path / "model", run.parent / "data" / "val"
    words = ["--checkpoint", str(run), "--out", str(model), "--compile", "off"]
    assert main(["export", *words, "--tables", "int8", "--formula", "click + 2 * like"]) == 0
    shown = capsys.readouterr()
    assert "tables int8, 6 tasks" in shown.out
    assert "formula:  click + 2 * like" in shown.out
    assert "comparing 400 rows with evaluation ..." in shown.err
    scored = ["score", "--model", str(model), "--input", str(data), "--out", str(tmp_path / "a")]
    assert main([*scored, "--keep", "user_id", "video_id"]) == 0
    assert "scored 400 rows of 1 files" in capsys.readouterr().out
    assert main([*scored, "--keep", "user_id", "video_id"]) == 0
    assert "scored 0 rows of 0 files" in capsys.readouterr().out
    found = pl.read_parquet(tmp_path / "a" / "*.parquet")
    assert set(found.columns) == {"user_id", "video_id", *TASKS, "score"}
    expected = found["click"] + 2 * found["like"]
    assert (found["score"] - expected).abs().max() < 1e-6  # type: ignore[operator]


def test_a_checkpoint_scores_directly_as_its_model_does(run: Path, tmp_path: Path) -> None:
    model, data = tmp_path / "model", run.parent / "data" / "val"
    words = ["--checkpoint", str(run), "--out", str(model), "--compile", "off"]
    assert main(["export", *words]) == 0
    to = ["--input", str(data), "--out", str(tmp_path / "a")]
    assert main(["score", "--model", str(model), *to]) == 0
    (file,) = (tmp_path / "a").iterdir()
    before, changed = pl.read_parquet(file), file.stat().st_mtime_ns
    assert main(["score", "--checkpoint", str(run), *to]) == 0  # the same model: nothing to do
    assert file.stat().st_mtime_ns == changed
    file.unlink()
    assert main(["score", "--checkpoint", str(run), *to]) == 0
    assert_frame_equal(pl.read_parquet(file), before)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "--checkpoint", "RUN", "--out", "RUN"], "is not empty and not an exported"),
        (["export", "--checkpoint", "none", "--out", "m"], "no checkpoint here"),
        (["export", "--checkpoint", "RUN", "--out", "m", "--formula", "clik"], "did you mean"),
        (["export", "--checkpoint", "RUN", "--out", "m", "--data.path", "x"], "not a prepared"),
        (["score", "--input", "x", "--out", "y"], "give --model or --checkpoint, one of them"),
        (["score", "--model", "none", "--input", "x", "--out", "y"], "not an exported model"),
    ],
)
def test_bad_input_is_one_line(
    run: Path,
    tmp_path: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(run) if word == "RUN" else word for word in words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []
