"""--search: what it means, and what is rejected before anything runs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.overrides import resolve
from pipeline.config.recipes import debug
from pipeline.experiments.search_space import OneOf, Range, laid_over, read_search, read_searches
from pipeline.io.errors import UserError

BASE = debug()


def field(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = config[part] if isinstance(config, dict) else getattr(config, part)
    return config


finite = st.floats(min_value=1e-12, max_value=1e12)


@given(finite, finite, st.booleans())
def test_a_range_reads_back_what_was_written(one: float, other: float, log: bool) -> None:
    low, high = sorted((one, other))
    text = f"dense.lr={low}:{high}" + ":log" * log
    if low == high:
        with pytest.raises(UserError, match="only one value"):
            read_search(text, BASE)
    else:
        assert read_search(text, BASE) == Range(field="dense.lr", low=low, high=high, log=log)


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 50))
def test_a_step_must_meet_the_high_end(low: int, step: int, count: int) -> None:
    name = "train.batch_size"
    high = low + step * count
    expected = Range(field=name, low=low, high=high, step=step)
    assert read_search(f"{name}={low}:{high}:{step}", BASE) == expected
    if step > 1:
        with pytest.raises(UserError, match=r"end at|make it smaller"):
            read_search(f"{name}={low}:{high + 1}:{step}", BASE)


@given(finite)
def test_a_trials_value_reaches_its_run_unchanged(value: float) -> None:
    config = laid_over(BASE, {"dense.lr": value}, where="trial")
    assert config.dense.lr == value
    assert config.model_copy(update={"dense": BASE.dense}) == BASE


@given(st.lists(st.integers(1, 9999), min_size=2, max_size=6, unique=True))
def test_choices_keep_their_words(values: list[int]) -> None:
    search = read_search(f"train.batch_size={','.join(map(str, values))}", BASE)
    assert search == OneOf(field="train.batch_size", values=tuple(map(str, values)))
    for word, value in zip(search.samples, values, strict=True):
        assert laid_over(BASE, {search.field: word}, where="trial").train.batch_size == value


@pytest.mark.parametrize(
    ("text", "name", "first"),
    [
        ("model.tower.expert_hidden=128|256,128", "model.tower.expert_hidden", (128,)),
        ("loss.task_weights.click=0.5:2", "loss.task_weights.click", 0.5),
        ("embeddings.tables.user_id.dim=8:32:4", "embeddings.tables.user_id.dim", 8),
        ("model.tower.kind=mmoe,home", "model.tower.kind", "mmoe"),
        ("dense.betas=0.9,0.99|0.8,0.9", "dense.betas", (0.9, 0.99)),
        ("train.batch_size=32:64:log", "train.batch_size", 32),
        ("dense.weight_decay=0:0.3:0.1", "dense.weight_decay", 0.0),
    ],
)
def test_any_field_of_a_run_can_be_searched(text: str, name: str, first: Any) -> None:
    (search,) = read_searches([text], BASE, [])
    assert search.field == name
    assert field(laid_over(BASE, {name: search.samples[0]}, where="trial"), name) == first


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dense.lr", "write it as FIELD=VALUES"),
        ("dense.lr=", "no values"),
        ("dense.lr=:", "'' is not a finite number"),
        ("dense.lrr=1:2", "unknown field 'dense.lrr'; did you mean 'lr'?"),
        ("dence.lr=1:2", "did you mean 'dense'?"),
        ("recipe=debug,demo", "unknown field 'recipe'"),
        ("train.seed.x=1:2", "train.seed has no parts"),
        ("dense=1:2", "dense has parts"),
        ("loss.task_weights=1:2", "loss.task_weights has parts"),
        ("dense.lr=2:1", "low 2.0 is above high 1.0"),
        ("dense.lr=1:1", "only one value to search; fix it with --dense.lr 1.0"),
        ("train.batch_size=128", "only one value to search"),
        ("dense.lr=0:1:log", "low 0.0 has no logarithm"),
        ("dense.lr=nan:1", "'nan' is not a finite number"),
        ("dense.lr=1e-3:inf", "'inf' is not a finite number"),
        ("dense.lr=1:2:3:4", "4 parts between colons"),
        ("dense.lr=-1:1", "dense.lr: '-1.0': write a number > 0"),
        ("dense.lr=0.1:0.5:-0.1", "must be above 0"),
        ("train.batch_size=1.5:3", "'1.5' is not a whole number"),
        ("train.batch_size=1:10:4", "do not reach 10; end at 9"),
        ("embeddings.dim=8:32", "embeddings.dim: '9': write a multiple of 4"),
        ("train.bf16=1:2", "train.bf16 is not a number, so it has no range"),
        ("dense.betas=0:1", "no range"),
        ("train.compile=on,offf", "train.compile: 'offf': write 'auto', 'on' or 'off'"),
        ("dense.lr=0.1,0.1", "0.1 is given twice"),
        ("dense.lr=0.1,,0.2", "an empty choice"),
        ("train.select=mean/auc,mean/ne", "trials are compared by it"),
    ],
)
def test_what_cannot_be_searched_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=re.escape(reason)) as rejected:
        read_searches([text], BASE, [])
    assert str(rejected.value).startswith(f"--search {text}: ")
    assert "\n" not in str(rejected.value)


@pytest.mark.parametrize(
    ("texts", "fixed", "reason"),
    [
        ([], [], "nothing to search"),
        (["dense.lr=1:2", "dense.lr=3:4"], [], "dense.lr is searched twice"),
        (["dense.lr=1:2"], ["dense.lr"], "dense.lr is searched and has a value"),
        (
            ["model.tower.kind=home,mmoe", "model.tower.mask_rank=2:4"],
            [],
            "--search model.tower.mask_rank with model.tower.kind=mmoe: unknown field",
        ),
    ],
)
def test_searches_that_contradict_are_rejected(
    texts: list[str], fixed: list[str], reason: str
) -> None:
    with pytest.raises(UserError, match=re.escape(reason)):
        read_searches(texts, BASE, fixed)


def test_a_field_that_only_the_chosen_tower_has() -> None:
    base = resolve("debug", None, ["--model.tower.kind", "ple"])
    (search,) = read_searches(["model.tower.num_levels=1:3"], base, [])
    assert search == Range(field="model.tower.num_levels", low=1, high=3)
    with pytest.raises(UserError, match="unknown field"):
        read_searches(["model.tower.num_levels=1:3"], BASE, [])
