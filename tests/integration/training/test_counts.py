"""None, one and two of everything that can be counted: a run trains and every row is evaluated, or
one line says what is missing.

Buckets of users are counted in prepare/test_kuairand_files.py, rows of a table in
sharding/test_few_rows.py."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoint.layout import saved_steps
from pipeline.config.overrides import configure
from pipeline.data.schema import SPLIT, Table
from pipeline.evaluate import evaluate_checkpoint
from pipeline.io.errors import UserError
from pipeline.ranks.world import this_world
from pipeline.train import train
from tests.pipeline.data.small_folder import VOCABULARY, random_rows, write_folder
from tests.ranks import run_ranks


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A prepared folder and a run on it. Without any changes: two or three of everything."""

    train: int = 8
    val: int = 8
    test: int = 8
    """Rows."""
    files: int = 2
    """Of each split."""
    row_group_size: int = 2
    users: int = 3
    words: tuple[str, ...] = ()
    schema: dict[str, Any] = field(default_factory=dict)
    """What to change in schema.json."""
    error: str = ""
    """In the line that the run ends with; '': it trains."""


def features(*names: str) -> tuple[str, ...]:
    return ("--data.features", ",".join((*names, "age", "hour")))


TAGS = Table(name="tag", vocab_size=5, unknown_rows=0)
SINGLE, BAGS = ("video", "tag"), ("history", "likes")
CASES: dict[str, Case] = {
    "0 files": Case(files=0, error="its files () have 0"),
    "1 file": Case(files=1),
    "0 row groups in a file": Case(train=4, val=1, test=1, files=3),
    "1 row group": Case(row_group_size=8),
    "0 rows to train on": Case(train=0, error="split 'train' has no rows"),
    "1 row to train on": Case(
        train=1, error="split 'train' has 1 rows, fewer than one global batch of 2"
    ),
    "2 rows to train on": Case(train=2),
    "0 rows of validation": Case(val=0, error="split 'val' has no rows"),
    "1 row of validation": Case(val=1),
    "2 rows of validation": Case(val=2),
    "0 rows of test": Case(test=0, error="split 'test' has no rows"),
    "1 row of test": Case(test=1),
    "2 rows of test": Case(test=2),
    "1 row of each split, 1 task": Case(train=2, val=1, test=1, words=("--data.tasks", "click")),
    "0 users": Case(users=0),
    "no user column": Case(schema={"user_column": None}),
    "no user column for GAUC": Case(
        schema={"user_column": None},
        words=("--train.select", "click/gauc"),
        error="has no user column, so there is no GAUC; name the column of users in data.user",
    ),
    "0 rows for unknown ids of 1 table": Case(
        schema={"tables": (Table(name="video", vocab_size=10, unknown_rows=1), TAGS)},
        error="outside the vocabulary of table 'tag' (5 rows), which has no hash rows; give the "
        "table more unknown_rows in schema.json",
    ),
    "1 row for unknown ids of 2 tables": Case(
        schema={"tables": tuple(Table(name=n, vocab_size=1, unknown_rows=1) for n in VOCABULARY)}
    ),
    "1 user": Case(users=1),
    "2 users": Case(users=2),
    "0 features": Case(words=("--data.exclude", "*"), error="no sparse feature"),
    "0 features in the schema": Case(schema={"sparse": ()}, error="no sparse feature"),
    "0 tables": Case(schema={"sparse": (), "tables": ()}, error="no sparse feature"),
    "1 feature": Case(words=features(SINGLE[0])),
    "2 features of 2 tables": Case(words=features(*SINGLE)),
    "2 features of 1 table": Case(words=features("video", "last_video")),
    "1 bag": Case(words=features(BAGS[0])),
    "2 bags": Case(words=features(*BAGS)),
    "0 numbers": Case(words=("--data.exclude", "age,hour")),
    "1 number": Case(words=("--data.exclude", "age")),
    "0 tasks": Case(schema={"labels": ()}, error="data.tasks: no label"),
    "0 tasks by default": Case(schema={"labels": "not default"}, error="data.tasks: no label"),
    "1 task": Case(words=("--data.tasks", "like")),
    "2 tasks": Case(),
    "0 checkpoints kept": Case(words=("--checkpoint.keep", "0"), error="checkpoint.keep: '0'"),
    "1 checkpoint kept": Case(words=("--checkpoint.keep", "1", "--checkpoint.every", "1")),
    "2 checkpoints kept": Case(words=("--checkpoint.keep", "2", "--checkpoint.every", "1")),
    "2 epochs": Case(words=("--train.epochs", "2")),
}
# On one rank as well; the others say the same there.
ALONE = [name for name in CASES if "1 row" in name or "1 user" in name or "1 task" in name]


def write(folder: Path, case: Case) -> None:
    splits = {}
    counts: dict[SPLIT, int] = {"train": case.train, "val": case.val, "test": case.test}
    for seed, (split, count) in enumerate(counts.items()):
        rows = random_rows(count, seed)
        for number, row in enumerate(rows):
            row["user"] = number % case.users if case.users else None
            row["is_click"] = row["is_like"] = float(number % 2)
        schema = write_folder(
            folder,
            rows,
            split=split,
            files=case.files or 1,
            row_group_size=case.row_group_size,
        )
        splits[split] = schema.splits[split]
        if not case.files:
            splits[split] = splits[split].model_copy(update={"files": ()})
    update = dict(case.schema)
    if update.get("labels"):
        update["labels"] = tuple(
            label.model_copy(update={"default": False}) for label in schema.labels
        )
    schema.model_copy(update={"splits": splits} | update).save(folder)


def outcome(case: Case, folder: Path) -> Any:
    """The rows that each split's evaluation counted, by task; or the user's error."""
    world = this_world()
    fields = ["--data.path", str(folder / "data"), "--train.batch_size", "2", *case.words]
    fields += ["--embeddings.hash_rows", "3", "--train.max_steps", "0"]
    try:
        config, out = configure(
            "debug", None, folder / "out", fields, resume=False, must_exist=False
        )
        assert train(config, out, world) == 0
        results, _ = evaluate_checkpoint(out, "test", None, world)
        val = json.loads((out / "results.json").read_text(encoding="utf-8"))["tasks"]
        counted = {
            split: {task: row["rows"] for task, row in of_split.items()}
            for split, of_split in (("val", val), ("test", results))
        }
        return counted, len(saved_steps(out / "checkpoints"))
    except UserError as error:
        return str(error)


def outcomes(rank: int, size: int, folder: Path, names: list[str]) -> dict[str, Any]:
    """Several cases on the ranks that are up: starting them takes longer than a case."""
    return {name: outcome(CASES[name], folder / name) for name in names}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Any]:
    """By number of ranks and case."""
    outcome_of: dict[tuple[int, str], Any] = {}
    for size, names in {2: list(CASES), 1: ALONE}.items():
        folder = tmp_path_factory.mktemp(f"ranks{size}")
        for name in names:
            write(folder / name / "data", CASES[name])
        results = run_ranks(outcomes, size, folder, names, timeout=600)[0]
        outcome_of |= {(size, name): result for name, result in results.items()}
    return outcome_of


@pytest.mark.parametrize(
    ("size", "name"), [*((2, name) for name in CASES), *((1, name) for name in ALONE)]
)
def test_none_one_or_two(size: int, name: str, found: dict[tuple[int, str], Any]) -> None:
    case, result = CASES[name], found[size, name]
    if case.error:
        assert isinstance(result, str)
        assert case.error in result
        assert "\n" not in result
        return
    assert not isinstance(result, str), result
    counted, checkpoints = result
    for split, rows in (("val", case.val), ("test", case.test)):
        assert set(counted[split].values()) == {rows}
    assert checkpoints >= 1
