"""homerec init writes a file that loads, from any format, and never half of one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launchers.cli.main import main
from pipeline.config.overrides import resolve
from pipeline.config.tree import Config


def _log(rows: int = 900) -> pl.DataFrame:
    random = np.random.default_rng(0)
    user = random.integers(0, 60, rows)
    return pl.DataFrame(
        {
            "user_id": user,
            "item_id": random.integers(0, 50, rows),
            "watched": ["a|b", "b|c|a", "c"] * (rows // 3),
            "price": random.lognormal(3, 2, rows).round(4),
            "when": [1_775_000_000 + 3_000 * one for one in range(rows)],
            "click": (random.random(rows) < 0.3).astype(int),
        }
    ).rename({"when": "ts"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _loaded(name: str = "run.yaml") -> Config:
    return resolve(None, Path(name), ())


def test_the_same_proposal_from_every_format(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = _log()
    log.write_parquet("log.parquet")
    log.write_csv("log.csv")
    log.write_csv("log.tsv", separator="\t")
    log.write_ndjson("log.jsonl")
    log.write_ipc("log.arrow")
    log.write_csv("bare.csv", include_header=False)
    found = {}
    for kind in ("parquet", "csv", "tsv", "jsonl", "arrow"):
        out = f"{kind}.yaml"
        assert main(["init", f"log.{kind}", "--out", out]) == 0
        found[kind] = _loaded(out)
    first = found["parquet"]
    assert list(first.features) == [
        "user_id", "item_id", "watched", "price", "price_range", "hour", "weekday",
    ]  # fmt: skip
    assert first.data.user == "user_id"
    assert list(first.data.labels) == ["click"]
    assert first.data.split.by == "time"
    assert first.data.path == Path("data/parquet")
    for config in found.values():
        assert config.features == first.features
        assert (config.data.split, config.data.labels) == (first.data.split, first.data.labels)
    printed = capsys.readouterr().out
    assert "next: homerec train --config parquet.yaml" in printed
    words = ["init", "bare.csv", "--no-header", "--labels", "column_6", "--time", "column_5"]
    assert main([*words, "--out", "bare.yaml"]) == 0
    assert _loaded("bare.yaml").data.split == first.data.split.model_copy(
        update={"column": "column_5"}
    )


def test_side_tables_give_their_columns_to_the_group_of_their_key(folder: Path) -> None:
    _log().write_parquet("log.parquet")
    random = np.random.default_rng(1)
    pl.DataFrame({"uid": range(60), "age": random.integers(17, 90, 60)}).write_csv("users.csv")
    words = ["init", "log.parquet", "--join", "users.csv:user_id=uid", "--split", "random"]
    assert main([*words, "--drop", "price", "--no-user", "--weight", "item_id"]) == 0
    config = _loaded()
    assert config.features["age"].group == "user"
    assert config.data.join[0].keys == {"user_id": "uid"}
    assert config.data.weight == "item_id"
    assert config.data.user is None
    assert config.data.split.by == "random"
    assert not {"price", "item_id"} & config.features.keys()


def test_left_out_columns_can_be_put_back_by_removing_the_comment_sign(folder: Path) -> None:
    log = _log().with_columns(reward=pl.col("click") * 2.5 + pl.col("price") * 1e-9)
    log.write_parquet("log.parquet")
    assert main(["init", "log.parquet"]) == 0
    assert "reward" not in _loaded().features
    path = Path("run.yaml")
    text = path.read_text(encoding="utf-8").replace("  # reward: {", "  reward: {")
    path.write_text(text, encoding="utf-8")
    assert _loaded().features["reward"].type == "number"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["init"], "no files"),
        (["init", "nix.csv"], "nix.csv: no such file"),
        (["init", "log.csv", "--labels", "clik"], "did you mean 'click'"),
        (["init", "log.csv", "--separator", "ab"], "--separator: 'ab'"),
        (["init", "log.csv", "--join", "users.csv"], "--join: 'users.csv': write FILE:KEY"),
        (["init", "log.csv", "--join", "log.csv:user_id"], "user_id"),
        (["init", "log.csv", "--out", "nix/run.yaml"], "no folder nix"),
        (["init", "log.csv", "--rows", "0"], "rows"),
        (["init", "empty.csv"], "empty.csv"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    _log().write_csv("log.csv")
    Path("empty.csv").write_text("a,b\n", encoding="utf-8")
    before = sorted(folder.rglob("*"))
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert sorted(folder.rglob("*")) == before


def test_an_existing_file_is_kept_unless_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _log().write_csv("log.csv")
    Path("run.yaml").write_text("recipe: debug\n", encoding="utf-8")
    assert main(["init", "log.csv"]) == 2
    assert "run.yaml: exists" in capsys.readouterr().err
    assert Path("run.yaml").read_text(encoding="utf-8") == "recipe: debug\n"
    assert main(["init", "log.csv", "--overwrite"]) == 0
    assert list(_loaded().data.labels) == ["click"]


_NAMES = st.text(min_size=1, max_size=40).filter(lambda name: name != "click") | st.sampled_from(
    ["yes", "1", "a: b", "# x", "a b", "a.b", "ø", "null", "<<", "{}", "loss", "label.click"]
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(_NAMES, min_size=1, max_size=5, unique=True), st.text(max_size=5))
def test_any_column_names_and_values(folder: Path, names: list[str], value: str) -> None:
    rows = 60
    columns = {
        name: pl.Series(name, [f"{value}{row % (3 + at)}" for row in range(rows)])
        for at, name in enumerate(names)
    }
    frame = pl.DataFrame(
        columns | {"click": np.arange(rows) % 2, "age": np.random.default_rng(0).random(rows)}
    )
    Path("log.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in frame.iter_rows(named=True)), encoding="utf-8"
    )
    assert main(["init", "log.jsonl", "--labels", "click", "--overwrite"]) == 0
    config = _loaded()
    read = {column for name, one in config.features.items() for column in one.columns(name)}
    assert read <= set(frame.columns)
    assert "age" in read
