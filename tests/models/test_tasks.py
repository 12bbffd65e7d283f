"""Lists of tasks, good and bad."""

import dataclasses

import pytest

from models.tasks import Task, canonical, categories, positions
from tests.models.building import CLICK, FINISH, FOLLOW, FORWARD, LIKE, TASKS


def test_canonical_order_is_by_category_then_name() -> None:
    assert canonical(TASKS) == (FOLLOW, FORWARD, LIKE, CLICK, FINISH)
    assert canonical(TASKS[::-1]) == canonical(TASKS)
    assert categories(TASKS) == ("interact", "watch")


def test_positions_lead_back_to_the_given_order() -> None:
    ordered = canonical(TASKS)
    assert tuple(ordered[i] for i in positions(TASKS)) == TASKS


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "tasks: the list is empty"),
        ([CLICK, LIKE, CLICK], "tasks: 'click' is listed twice"),
        ([CLICK, Task(name="click", category="other")], "tasks: 'click' is listed twice"),
        ([Task(name="", category="watch")], "empty name or category"),
        ([Task(name="click", category="")], "empty name or category"),
        ([Task(name="click", category="shared")], "category 'shared'"),
    ],
)
def test_bad_lists_are_rejected_in_one_line(tasks: list[Task], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        canonical(tasks)
    assert "\n" not in str(error.value)


def test_tasks_are_values() -> None:
    assert Task(name="click", category="watch") == CLICK
    with pytest.raises(dataclasses.FrozenInstanceError):
        CLICK.name = "x"  # type: ignore[misc]
