"""Fields that follow from the data: batch size, epochs, widths, learning rates of the recipe auto.

`Config.auto` names them until training starts. A field with a value of its own, in YAML or on the
command line, is no longer named. `derive` replaces the others and empties the list, so that the
saved configuration holds the values themselves, and resuming and evaluating derive nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.config.tree import Config, Tree, build, merge
from pipeline.data.schema import Schema
from pipeline.io.errors import UserError, nearest

DERIVED = (
    "train.batch_size",
    "train.epochs",
    "train.patience",
    "train.ema_decay",
    "schedule.warmup_steps",
    "model.tower.expert_dim",
    "model.tower.dropout",
)
"""The fields of the recipe auto."""

_STEPS_PER_EPOCH = 64
_EPOCHS_OF_100_000 = 10
_MOST_EPOCHS = 20


def derived_values(schema: Schema, num_tasks: int) -> dict[str, Any]:
    """Return the value of each field that `Config.auto` may name, for a folder of this schema.

    Small tables take small batches and many epochs, of which the best is kept; large ones take one
    epoch. Widths grow with the rows, and a little with the features and tasks; dropout shrinks.
    """
    rows = max(schema.splits["train"].rows, 1)
    batch_size = _power_of_two(max(rows / _STEPS_PER_EPOCH, min(rows / 20, 64)), 4, 4096)
    steps = max(rows // batch_size, 1)
    epochs = round(_EPOCHS_OF_100_000 * math.sqrt(100_000 / rows))
    epochs = min(max(epochs, 1), _MOST_EPOCHS)
    inputs = len(schema.feature_names) * math.sqrt(num_tasks)
    return {
        "train.batch_size": batch_size,
        "train.epochs": epochs,
        "train.patience": 0 if epochs < 3 else 3,
        "train.ema_decay": round(min(max(1 - 1 / steps, 0.9), 0.998), 3),
        "schedule.warmup_steps": min(max(steps // 4, 5), 200),
        "model.tower.expert_dim": _power_of_two(math.sqrt(rows * inputs) / 8, 32, 256),
        "model.tower.dropout": 0.2 if rows < 20_000 else 0.1 if rows < 1_000_000 else 0.0,
    }


def override(tree: Tree, over: Mapping[str, Any]) -> Tree:
    """Merge values that a user has set, which then no longer follow from the data."""
    merged = merge(tree, over)
    names = merged.get("auto", ())
    if "auto" not in over and isinstance(names, (list, tuple)):
        merged["auto"] = [name for name in names if not _is_set(over, str(name))]
    return merged


def derive(config: Config, schema: Schema) -> tuple[Config, str]:
    """Return the configuration with the fields of `auto` filled in, and a line that says them.

    The line is empty if there are none. Raises UserError for a field that cannot be derived.
    """
    if not config.auto:
        return config, ""
    values = derived_values(schema, len(config.data.tasks or schema.labels))
    for name in config.auto:
        if name not in values:
            raise UserError(f"auto: {name!r} does not follow from data; {nearest(name, [*values])}")
    tree: Tree = {}
    for name in config.auto:
        *sections, leaf = name.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = values[name]
    merged = merge(config.model_dump(mode="json"), tree)
    line = ", ".join(f"{name} {_shown(values[name])}" for name in config.auto)
    return build({**merged, "auto": []}, where="auto"), f"auto: {line}"


def _is_set(tree: Mapping[str, Any], name: str) -> bool:
    """Whether `tree` has a value at a dotted name."""
    node: Any = tree
    for part in name.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def _power_of_two(value: float, low: int, high: int) -> int:
    """Round down, within limits."""
    return int(min(max(2 ** math.floor(math.log2(max(value, 1))), low), high))


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
