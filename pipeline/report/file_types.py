"""What the files of a run hold, as far as a report reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, with_config
from typing_extensions import TypedDict

from pipeline.io.typed_json import OPEN, Count, Number, Time, check_typed

Numbers = dict[str, Number | None]
"""By name; null where not finite."""


@with_config(OPEN)
class LogHead(TypedDict):
    """The start of every line of metrics.jsonl; the rest are numbers, by name."""

    kind: str
    step: Count
    time: Time
    split: NotRequired[str]


def _line(line: dict[str, Any]) -> dict[str, Any]:
    check_typed(line, LogHead)
    if line["kind"] == "eval" and "split" not in line:
        raise ValueError("split: field required")
    for name, value in line.items():
        if isinstance(value, str) and name not in ("kind", "split"):
            raise ValueError(f"{name}: {value!r} is not a number")
    return line


LogLine = Annotated[dict[str, Number | str | None], AfterValidator(_line)]


def _counted(metrics: dict[str, Any]) -> dict[str, Any]:
    check_typed(metrics, _Counts)
    return metrics


@with_config(OPEN)
class _Counts(TypedDict):
    rows: Count
    positives: Count
    gauc_users: NotRequired[Count]
    gauc_left_out: NotRequired[Count]
    gauc_rows_without_user: NotRequired[Count]


TaskMetrics = Annotated[Numbers, AfterValidator(_counted)]
"""One task's metrics by name."""
Results = dict[str, TaskMetrics]
"""By task."""


@with_config(OPEN)
class ResultsFile(TypedDict):
    """results.json."""

    split: str
    step: Count
    tasks: Annotated[Results, Field(min_length=1)]


@with_config(OPEN)
class Finding(TypedDict):
    """An entry of a diagnosis."""

    kind: Literal["collapse", "degradation", "underfitting"]
    subject: str
    severity: Literal["wrong", "healthy", "unchecked"]
    text: str


@with_config(OPEN)
class ExpertMetrics(TypedDict):
    mean: Number | None
    deviation: Number | None
    zero_fraction: Number | None
    load: NotRequired[Number | None]
    weight: NotRequired[Number | None]


@with_config(OPEN)
class HealthFile(TypedDict):
    """health.json."""

    experts: dict[str, ExpertMetrics]
    gates: NotRequired[dict[str, Numbers]]
    self_gates: NotRequired[dict[str, Numbers]]
    meta_gates: NotRequired[dict[str, Numbers]]
    meta_self_gates: NotRequired[dict[str, Numbers]]
    tasks: NotRequired[dict[str, Numbers]]
    diagnosis: NotRequired[list[Finding]]


@with_config(OPEN)
class DiagnosedHealth(TypedDict):
    """health.json of this version."""

    diagnosis: list[Finding]


@with_config(OPEN)
class PlanShard(TypedDict):
    rank: Count
    bytes: Count


@with_config(OPEN)
class PlanTable(TypedDict):
    table: str
    rows: Count
    dim: Count
    dtype: str
    sharding_type: str
    compute_kernel: str
    ranks: Annotated[list[Count], Field(min_length=1)]
    bytes: Count
    shards: NotRequired[list[PlanShard]]


@with_config(OPEN)
class PlanFile(TypedDict):
    """A run's plan.json."""

    tables: Annotated[list[PlanTable], Field(min_length=1)]


@with_config(OPEN)
class _Tower(TypedDict):
    kind: str


@with_config(OPEN)
class _Model(TypedDict):
    tower: _Tower


@with_config(OPEN)
class ConfigFile(TypedDict):
    """config.json of any version."""

    recipe: str
    model: _Model


@with_config(OPEN)
class _Rows(TypedDict):
    rows: Count


@with_config(OPEN)
class SchemaFile(TypedDict):
    """schema.json of any version."""

    dataset: str
    user_column: NotRequired[str | None]
    splits: dict[str, _Rows]
