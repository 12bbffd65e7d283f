"""Tasks: the labels that a tower predicts, each in one category."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One binary label to predict."""

    name: str
    """Any text. Used to name results and seed weights, never as a module attribute."""
    category: str
    """Tasks of one category share experts (short video: 'watch', 'interact')."""


SHARED = "shared"
"""Name of the group of experts that belongs to no category."""


def canonical(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Sort tasks by category, then name: the order of the weights in every tower.

    Results and checkpoints therefore do not depend on the order of tasks in a config, and the tasks
    of one category are adjacent.

    Raises:
        ValueError: no tasks, an empty or repeated name, or a category called 'shared'.
    """
    if not tasks:
        raise ValueError("tasks: the list is empty; name at least one task")
    names = [task.name for task in tasks]
    for task in tasks:
        if not task.name or not task.category:
            raise ValueError(f"tasks: {task} has an empty name or category; give it one")
        if names.count(task.name) > 1:
            raise ValueError(f"tasks: {task.name!r} is listed twice; names must differ")
        if task.category == SHARED:
            raise ValueError(
                f"tasks: {task.name!r} has category {SHARED!r}, which is reserved for experts "
                "without a category; rename the category"
            )
    return tuple(sorted(tasks, key=lambda task: (task.category, task.name)))


def categories(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Return the categories of `tasks`, sorted, without duplicates."""
    return tuple(sorted({task.category for task in tasks}))


def positions(tasks: Sequence[Task]) -> tuple[int, ...]:
    """Return the position of each of `tasks` in `canonical(tasks)`."""
    ordered = canonical(tasks)
    return tuple(ordered.index(task) for task in tasks)
