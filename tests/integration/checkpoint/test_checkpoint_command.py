"""`homerec checkpoint` on a run's folder: what it says and what it drops."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from launchers.cli.main import main
from pipeline.checkpoint.layout import named_steps
from pipeline.checkpoint.manifest import read_sealed, write_sealed
from pipeline.config.tree import Config, build
from tests.integration.checkpoint.test_corrupt import changed
from tests.integration.training.runs import run
from tests.ranks import run_ranks


def saved(rank: int, size: int, data: Path, out: Path) -> int:
    """Full ones after steps 2 (it has no base), 4 and 8, an incremental one after 6."""
    words = [
        "--checkpoint.every",
        "4",
        "--checkpoint.incremental_every",
        "2",
        "--checkpoint.keep",
        "9",
    ]
    return int(run(rank, size, data, out, [*words, "--train.eval_every", "100"]))


@pytest.fixture(scope="module")
def whole(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert run_ranks(saved, 1, synthetic, out) == [0]
    return out


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["checkpoint", *words]) == 0
    return capsys.readouterr().out


def test_ls_and_show_say_what_is_there(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(answer(capsys, "ls", str(whole), "--json"))
    assert [(one["step"], one["base"], one["problem"]) for one in found] == [
        (2, None, None),
        (4, None, None),
        (6, 4, None),
        (8, None, None),
    ]
    text = answer(capsys, "ls", str(whole))
    assert "rows changed since 4" in text
    rows = {line.split()[0]: line for line in text.splitlines() if "complete" in line}
    assert "newest" in rows["8"]  # the best one, too
    assert not any("newest" in rows[step] for step in ("2", "4", "6"))
    assert "recent" in rows["6"]
    one = whole / "checkpoints" / "step-00000006"
    shown = json.loads(answer(capsys, "show", str(one), "--json"))
    assert shown["progress"]["step"] == 6
    base = one.with_name("step-00000004")
    of_base = json.loads(answer(capsys, "show", str(base), "--json"))
    # But for the window of training metrics, which had fewer rows then.
    left, right = (
        {name: entry for name, entry in which["tensors"].items() if not name.startswith("window.")}
        for which in (shown, of_base)
    )
    assert left == right
    summary = answer(capsys, "show", str(one))
    assert "rows changed since step 4" in summary
    assert len(summary.splitlines()) < 20
    assert "the tower's optimizer" in summary


def test_verify_names_what_is_corrupt(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "verify", str(copy)).count("valid") == 4
    changed(copy / "checkpoints" / "step-00000004" / "__0_0.distcp", "flipped")
    assert main(["checkpoint", "verify", str(copy), "--json"]) == 1
    problems = {one["step"]: one["problem"] for one in json.loads(capsys.readouterr().out)}
    assert problems[2] is None
    assert problems[8] is None
    assert problems[4].startswith("__0_0.distcp is corrupt")
    assert problems[6].startswith("its base, step-00000004: __0_0.distcp is corrupt")
    assert main(["checkpoint", "verify", str(copy / "checkpoints" / "step-00000006")]) == 1
    assert capsys.readouterr().out.startswith("step 6: corrupt: its base, step-00000004")


def test_prune_counts_valid_ones_alone(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy / "checkpoints"
    (folder / "best.json").unlink()
    changed(folder / "step-00000008" / "__0_0.distcp", "flipped")
    said = answer(capsys, "prune", str(copy), "--keep", "1", "--dry-run")
    assert "step 2: would be deleted" in said
    assert named_steps(folder) == [2, 4, 6, 8]
    said = answer(capsys, "prune", str(copy), "--keep", "1")
    assert "step 8: kept, corrupt: __0_0.distcp is corrupt" in said
    assert named_steps(folder) == [4, 6, 8]  # the newest valid one, and what adds to it
    answer(capsys, "prune", str(copy), "--keep", "1", "--corrupt")
    assert named_steps(folder) == [4, 6]
    changed(folder / "step-00000004" / "manifest.json", "gone")
    assert main(["checkpoint", "prune", str(copy), "--corrupt"]) == 2
    assert "no checkpoint here is valid" in capsys.readouterr().err
    assert named_steps(folder) == [4, 6]


def test_a_best_metric_may_be_undefined(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newest = copy / "checkpoints" / "step-00000008"
    meta = read_sealed(newest / "meta.json")
    assert meta["best_step"] == 8
    write_sealed(newest / "meta.json", meta | {"best_value": None})
    assert "best so far: step 8, mean/auc undefined" in answer(capsys, "show", str(newest))


def test_a_copy_is_verified_under_any_name_but_another_steps(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = copy / "checkpoints" / "step-00000008"
    shutil.copytree(saved, tmp_path / "the best")
    assert answer(capsys, "verify", str(tmp_path / "the best")) == "step 8: valid\n"
    saved.rename(saved.with_name("step-00000020"))
    assert main(["checkpoint", "verify", str(copy)]) == 1
    said = capsys.readouterr().out
    assert "step 20: corrupt: it is the checkpoint of step 8 under another name" in said
    meta = read_sealed(copy / "checkpoints" / "step-00000006" / "meta.json")
    write_sealed(tmp_path / "the best" / "meta.json", meta)
    assert main(["checkpoint", "verify", str(tmp_path / "the best")]) == 1
    assert "meta.json is of step 6, manifest.json of step 8" in capsys.readouterr().out


def test_prune_keeps_the_best_also_where_best_json_is_gone(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy / "checkpoints"
    newest = folder / "step-00000008"
    write_sealed(newest / "meta.json", read_sealed(newest / "meta.json") | {"best_step": 2})
    for other in (None, '{"step": 7}'):
        (folder / "best.json").unlink()
        if other:
            (folder / "best.json").write_text(other, encoding="utf-8")
        assert "step 2: kept as best" in answer(capsys, "prune", str(copy), "--keep", "1")
        (folder / "best.json").touch()


def test_prune_of_a_path_through_what_it_deletes(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(capsys, "prune", str(copy / "checkpoints" / "step-00000002" / ".."), "--keep", "1")
    assert named_steps(copy / "checkpoints") == [4, 6, 8]


@pytest.mark.parametrize("how", ["link", "path"])
def test_prune_names_its_folder_and_deletes_outside_the_run_only_when_told(
    how: str, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "checkpoints" / "best.json").unlink()
    elsewhere = tmp_path / "elsewhere"
    (copy / "checkpoints").rename(elsewhere)
    if how == "link":
        (copy / "checkpoints").symlink_to(elsewhere)
    else:
        config = Config.load(copy / "config.json").model_dump(mode="json")
        config["checkpoint"]["path"] = str(elsewhere)
        build(config, where="test").save(copy / "config.json")
    words = ["prune", str(copy), "--keep", "1"]
    assert main(["checkpoint", *words]) == 2
    error = capsys.readouterr().err
    assert f"its checkpoints are in {elsewhere}, outside this folder; pass --outside" in error
    assert f"checkpoints in {elsewhere}\n" in answer(capsys, *words, "--dry-run")
    assert named_steps(elsewhere) == [2, 4, 6, 8]
    assert f"checkpoints in {elsewhere}\n" in answer(capsys, *words, "--outside")
    assert named_steps(elsewhere) == [4, 6, 8]
    answer(capsys, "prune", str(elsewhere), "--keep", "1")  # named by the user: no flag


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prune", "RUN", "--keep", "0"], "--keep: 0 would leave no checkpoint; give 1 or more"),
        (["prune", "RUN", "--keep-every", "-1"], "--keep-every: -1 is negative; give 0 or more"),
        (["ls", "NOWHERE"], "no checkpoint here; give the folder of a run"),
        (["show", "s33://a"], "unknown protocol 's33'"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], message: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"RUN": str(whole), "NOWHERE": str(tmp_path)}
    assert main(["checkpoint", *(places.get(word, word) for word in words)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
