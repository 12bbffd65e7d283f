"""Formulas mean what they say, and nothing else than a formula is accepted."""

from __future__ import annotations

import warnings
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.io.errors import UserError
from pipeline.scoring.formula import Formula, default_formula, quoted_task

TASKS = ["click", "like", "long view", "max", "if", "naïve"]
NAMES = ["click", "like", 'task("long view")', 'task("max")', 'task("if")']
_REFERENCE = {
    "log": np.log,
    "exp": np.exp,
    "min": lambda *values: np.minimum.reduce(np.broadcast_arrays(*values)),
    "max": lambda *values: np.maximum.reduce(np.broadcast_arrays(*values)),
}

_numbers = st.integers(0, 9).map(str) | st.floats(0, 100).map(repr)
_leaves = _numbers | st.sampled_from(NAMES)


def _extended(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(
            lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
        ),
        inner.map("(-{})".format),
        st.tuples(st.sampled_from(["log", "exp"]), inner).map(
            lambda parts: "{}({})".format(*parts)
        ),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda parts: "{}({}, {})".format(*parts)
        ),
    )


@given(text=st.recursive(_leaves, _extended, max_leaves=12), seed=st.integers(0, 99))
def test_a_formula_has_the_value_of_the_expression(text: str, seed: int) -> None:
    rows = np.random.default_rng(seed).random((5, len(TASKS))).astype(np.float32)
    wide = rows.astype(np.float64)
    names = {"click": wide[:, 0], "like": wide[:, 1]}
    columns = {task: wide[:, index] for index, task in enumerate(TASKS)}
    # Numbers as float64, as NumPy divides.
    scope = _REFERENCE | names | {"task": columns.get, "__builtins__": {}}
    tree = compile(text, "reference", "eval")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = np.broadcast_to(np.asarray(eval(tree, scope)), 5).astype(np.float32)
        except (ZeroDivisionError, OverflowError, TypeError):
            expected = None  # of Python's own numbers; NumPy's are infinite
    found = Formula(text, TASKS)(rows)
    assert found.shape == (5,)
    assert found.dtype == np.float32
    if expected is not None:
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("click +", "position . of 'click \\+': not complete"),
        ("", "not complete"),
        ("clik + 1", r"position 1: 'clik' is not a task; did you mean 'click'\?"),
        ("1 + clik", "position 5: 'clik' is not a task"),
        ("click.real", r"position 1: 'click\.real' has no meaning"),
        ("__import__('os')", "'__import__' is not a function; known: log, exp, min, max"),
        ("().__class__", "has no meaning"),
        ("[x for x in click]", "has no meaning"),
        ("lambda: 1", "has no meaning"),
        ("click if like else 1", "has no meaning"),
        ("click // 2", "has no meaning"),
        ("click < 2", "has no meaning"),
        ("click[0]", "has no meaning"),
        ("'text'", "is not a number"),
        ("True + click", "is not a number"),
        ("1j", "is not a number"),
        ("1e999", "is beyond 1e300"),
        ("log(click, like)", "has 2 arguments; log has 1 argument"),
        ("min(click)", "has 1 arguments; min has 2 to 100 arguments"),
        ("min(*click)", "has an argument that is not a value"),
        ("log(x=click)", "has an argument that is not a value"),
        ('task("none")', r"position 6: .*none.* is not a task"),
        ("task(click)", "is not the name of a task"),
        ("click" + "+click" * 5000, "write at most 10000"),
        ("-" * 200 + "click", "nested more than 100 deep"),
        ("(" * 500 + "click" + ")" * 500, "not complete|nested"),
        ("click\0", "not complete"),
    ],
)
def test_anything_else_is_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as found:
        Formula(text, TASKS)
    assert str(found.value).startswith("formula: ")


@settings(max_examples=50)
@given(st.text(max_size=40))
def test_any_text_is_a_formula_or_an_error(text: str) -> None:
    with suppress(UserError):
        Formula(text, TASKS)(np.ones((2, len(TASKS)), np.float32))


def test_the_default_is_the_sum_of_all_tasks() -> None:
    rows = np.random.default_rng(0).random((4, len(TASKS))).astype(np.float32)
    found = Formula(default_formula(TASKS), TASKS)(rows)
    np.testing.assert_allclose(found, rows.sum(axis=1), rtol=1e-6)
    assert quoted_task("click") == "click"
    assert quoted_task("if") == "task('if')"


def test_a_formula_without_tasks_has_one_score_for_each_row() -> None:
    assert Formula("1 + 1", TASKS)(np.zeros((3, len(TASKS)), np.float32)).tolist() == [2, 2, 2]
    assert Formula("click", TASKS)(np.zeros((0, len(TASKS)), np.float32)).shape == (0,)
