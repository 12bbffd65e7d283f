"""`homerec evaluate`."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pipeline.io.import_time import no_garbage_collection


def evaluate(
    *,
    checkpoint: str,
    split: Literal["train", "val", "test"] = "val",
    data: Annotated[Path | None, Parameter(name="--data.path")] = None,
    json: bool = False,
) -> int:
    """Compute exact metrics of a checkpoint on a split.

    Args:
        checkpoint: folder of a run (its best checkpoint) or of one checkpoint.
        split: rows to evaluate.
        data: another prepared folder with the same vocabularies (default: the run's).
        json: print one JSON object, task -> metrics; and label with limits -> errors.
    """
    with no_garbage_collection():
        from pipeline.evaluate import evaluate_checkpoint
        from pipeline.ranks.world import open_world
        from pipeline.tracking.console_tables import print_final_table

    with open_world() as world:
        results, what = evaluate_checkpoint(checkpoint, split, data, world)
        if not world.is_first:
            return 0
    amounts = what.pop("amounts", {})
    if json:
        print(json_format.dumps({**results, **amounts}, allow_nan=False))  # noqa: T201
    else:
        print(", ".join(f"{key} {value}" for key, value in what.items()))  # noqa: T201
        print_final_table(results, f"Metrics of the {split} split")
        for label, one in amounts.items():
            means = f"expected {_short(one['expected'])}, observed {_short(one['observed'])}"
            errors = f"MAE {_short(one['mae'])}, RMSE {_short(one['rmse'])}"
            print(f"{label}: {means}, {errors} of {one['rows']:,} rows, by ranges")  # noqa: T201
    return 0


def _short(value: float) -> str:
    return f"{value:.4g}" if value < 1000 else f"{value:,.0f}"
