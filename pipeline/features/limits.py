"""Labels with several limits, such as watch times: a task for each.

Frank and Hall, 'A simple approach to ordinal classification', ECML 2001. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.features.config import LabelConfig


def tasks_of(name: str, config: LabelConfig) -> dict[str, LabelConfig]:
    """Return the tasks of a label: `NAME_LIMIT` for each of its limits, or itself."""
    if config.limits is None:
        return {name: config}
    column = config.column or name
    return {
        f"{name}_{_text(limit)}": config.model_copy(
            update={"column": column, "at_least": limit, "limits": None}
        )
        for limit in config.limits
    }


def _text(limit: float) -> str:
    return str(int(limit) if limit.is_integer() else limit)


def expanded(labels: Mapping[str, LabelConfig]) -> dict[str, LabelConfig]:
    """Return the tasks of all labels.

    Raises ValueError if a task has the name of another one, or of an expected value.
    """
    found: dict[str, LabelConfig] = {}
    values = {name for name, config in labels.items() if config.limits is not None}
    for name, config in labels.items():
        for task, one in tasks_of(name, config).items():
            if task in found or task in values:
                raise ValueError(
                    f"data.labels: {task!r} is a label, and a limit of {name!r}; rename one"
                )
            found[task] = one
    return found


def integral(limits: Sequence[float]) -> tuple[float, list[float]]:
    """Return c and w of E[min(value, last limit)] = c + sum_k w_k P(value >= limit k), value >= 0.

    It is the integral of the chance to reach each value, which is taken as linear between limits,
    and as 1 at 0.
    """
    before, after = [0.0, *limits[:-1]], [*limits[1:], limits[-1]]
    weights = [(right - left) / 2 for left, right in zip(before, after, strict=True)]
    return limits[0] / 2, weights
