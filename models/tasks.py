"""What a tower predicts: tasks, each in one category."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One binary label to predict."""

    name: str
    """Free text: it names results and seeds weights, and is never a module attribute."""
    category: str
    """Tasks of one category share experts (short video: 'watch', 'interact')."""


SHARED = "shared"
"""The group of experts that belongs to no category."""


def canonical(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """The tasks by category, then name: the order in which every tower holds its weights.

    With it neither the order of tasks in a config nor how their categories interleave
    changes a result or a checkpoint, and the tasks of one category lie side by side.

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
                f"tasks: {task.name!r} has category {SHARED!r}, the name of the experts that "
                "belong to no category; call it something else"
            )
    return tuple(sorted(tasks, key=lambda task: (task.category, task.name)))


def categories(tasks: Sequence[Task]) -> tuple[str, ...]:
    """The categories of `tasks`, sorted, each once."""
    return tuple(sorted({task.category for task in tasks}))


def positions(tasks: Sequence[Task]) -> tuple[int, ...]:
    """Where each of `tasks` stands in `canonical(tasks)`."""
    ordered = canonical(tasks)
    return tuple(ordered.index(task) for task in tasks)
