"""Labels with limits: their tasks, and the expected value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.config.tree import Config, build, merge
from pipeline.features.config import LabelConfig
from pipeline.features.expected_value import expected_value
from pipeline.features.limits import expanded, tasks_of
from pipeline.io.errors import UserError
from pipeline.scoring.formula import Formula

WATCH = LabelConfig(column="ms", category="time", limits=(0.5, 10, 3000), default=False)


def test_every_limit_is_a_task() -> None:
    def at_least(limit: float) -> LabelConfig:
        return LabelConfig(column="ms", category="time", at_least=limit, default=False)

    click = LabelConfig(column="is_click")
    assert expanded({"watch": WATCH, "click": click}) == {
        "watch_0.5": at_least(0.5),
        "watch_10": at_least(10),
        "watch_3000": at_least(3000),
        "click": click,
    }
    ((name, own),) = tasks_of("ms", LabelConfig(limits=(1_200_000,))).items()
    assert (name, own.column) == ("ms_1200000", "ms")


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ((), "not ascending"),
        ((0, 1), "not ascending"),
        ((2, 1), "not ascending"),
        ((1, 1), "not ascending"),
        ((-1,), "not ascending"),
        ((1, float("nan")), "not ascending|finite"),
        ((1, float("inf")), "finite"),
    ],
)
def test_bad_limits_are_named(limits: tuple[float, ...], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        LabelConfig(limits=limits)


def test_limits_and_another_rule_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="at_least and limits exclude each other"):
        LabelConfig(limits=(1,), at_least=2)


@pytest.mark.parametrize("other", ["watch_10", "watch"])
def test_a_name_means_one_thing(other: str) -> None:
    labels = {"watch": WATCH, "watch_10": LabelConfig(limits=None)}
    if other == "watch":  # the expected value's
        labels = {"watch_10": LabelConfig(limits=(3,)), "watch": LabelConfig(limits=(10,))}
    with pytest.raises(ValueError, match="'watch_10' is a label, and a limit of"):
        expanded(labels)


def test_two_tasks_of_a_name_are_one_line() -> None:
    tree = {
        "data": {
            "source": {"path": ["a.csv"]},
            "labels": {"a": {"limits": [1, 2]}, "a_2": {"column": "b"}},
        },
        "features": {"x": {"type": "id", "group": "user"}},
    }
    config = build(merge(Config(recipe="debug").model_dump(mode="json"), tree), where="test")
    with pytest.raises(UserError, match=r"^data\.labels: 'a_2' is a label, and a limit") as error:
        config.table_spec()
    assert "\n" not in str(error.value)


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=6, unique=True).map(sorted),
    st.floats(0, 200),
)
def test_a_known_value_is_found_but_for_its_range(limits: list[float], value: float) -> None:
    """Chances of 0 and 1: the value is in the middle of its range, those beyond are the last."""
    chances = np.array([[float(value >= limit) for limit in limits]], dtype=np.float32)
    (found,) = expected_value(chances, limits)
    ends = [0.0, *limits]
    below = max(i for i, end in enumerate(ends) if value >= end)
    above = min(below + 1, len(limits))
    assert found == pytest.approx((ends[below] + ends[above]) / 2)


def test_the_expectation_of_a_distribution_is_exact_where_chances_are_linear() -> None:
    """Values that are even between 0 and 4, cut at 2 and at 4."""
    assert expected_value(np.array([[0.5, 0.0]], np.float32), [2, 4]) == pytest.approx(2)
    assert expected_value(np.array([[0.5]], np.float32), [2]) == pytest.approx(1.5)
    generator = np.random.default_rng(0)
    values = generator.exponential(10, 200_000)
    limits = [1, 2, 4, 7, 11, 16, 24, 40]
    chances = np.array([[(values >= limit).mean() for limit in limits]], np.float32)
    (found,) = expected_value(chances, limits)
    assert found == pytest.approx(np.minimum(values, 40).mean(), rel=0.03)


def test_a_ranking_formula_is_the_expected_value() -> None:
    """That of docs/design/models.md: each limit weighs half the way between its neighbors."""
    limits = (1.0, 3.0, 7.0, 15.0, 30.0, 60.0, 120.0)
    text = (
        "0.5 + 1.5 * watch_1 + 3 * watch_3 + 6 * watch_7 + 11.5 * watch_15 + 22.5 * watch_30"
        " + 45 * watch_60 + 30 * watch_120"
    )
    chances = np.random.default_rng(0).random((9, len(limits))).astype(np.float32)
    tasks = [*tasks_of("watch", LabelConfig(limits=limits))]
    expected = expected_value(chances, limits)
    np.testing.assert_allclose(Formula(text, tasks)(chances), expected, rtol=1e-6)
