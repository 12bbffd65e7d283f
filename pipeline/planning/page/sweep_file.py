"""Reads the points written by `plan sweep --out`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from embeddings.planner.inputs.files import read_json, validate
from pipeline.io.typed_json import Count

KIND = "homerec sharding sweep"
VERSION = 1
Memory = Literal["hbm", "ddr", "ssd"]


class _Data(BaseModel):
    """Ignores unknown fields, which later versions may add."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class SweepPoint(_Data):
    """A combination of inputs; milliseconds of the busiest rank, bytes per rank."""

    values: dict[str, str]
    feasible: bool
    reason: str = ""
    time_ms: float | None = None
    lower_bound_ms: float | None = None
    imbalance: float | None = None
    ms: dict[str, float] = {}
    memory: dict[Memory, tuple[Count, Count]] = {}
    """Of the rank that uses least, and of the fullest one."""
    room: dict[str, Count] = {}
    """Available on the fullest rank."""

    @model_validator(mode="before")
    @classmethod
    def _inputs_first(cls, value: Any) -> Any:
        """A point of the file has its inputs before `feasible`, in the order that they vary."""
        if not isinstance(value, dict) or "values" in value:
            return value
        keys = list(value)
        inputs = keys[: keys.index("feasible")] if "feasible" in keys else []
        found = value | {"values": {key: str(value[key]) for key in inputs}}
        if isinstance(value.get("ms"), dict) and "sync_ms" in value:
            found["ms"] = value["ms"] | {"sync": value["sync_ms"]}
        return found

    @model_validator(mode="after")
    def _has_values(self) -> Self:
        lacking = [name for name in ("time_ms", "lower_bound_ms", "imbalance", "ms", "memory")
                   if getattr(self, name) in (None, {})]  # fmt: skip
        lacking += [f"memory.{name}" for name in get_args(Memory) if name not in self.memory]
        if self.feasible and lacking:
            raise ValueError(f"a plan was found, but it has no {lacking[0]}; run the sweep again")
        return self


class SweepFile(_Data):
    """All points of a sweep. `source` and `cluster` are as on the command line."""

    source: str
    cluster: str
    points: tuple[SweepPoint, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_grid(self) -> Self:
        inputs = list(self.points[0].values)
        if not inputs or any(list(point.values) != inputs for point in self.points):
            raise ValueError("points: not all have the same inputs; run the sweep again")
        return self


def load_sweep(path: Path) -> SweepFile:
    """Read a sweep file. Raises ValueError in one line if it is not a sweep of this version."""
    remedy = "'homerec plan sweep SOURCE --vary .. --out FILE' writes one"
    return read_sweep(read_json(path, remedy), path, remedy)


def read_sweep(value: Any, source: Path | str, remedy: str = "run the sweep again") -> SweepFile:
    """Read a sweep from a JSON object. `source` is the prefix of errors."""
    if not isinstance(value, Mapping) or value.get("kind") != KIND:
        raise ValueError(f"{source}: is no sweep; {remedy}")
    if value.get("version") != VERSION:
        raise ValueError(
            f"{source}: a sweep of version {value.get('version')!r}; this homerec reads version "
            f"{VERSION}: run the sweep again"
        )
    return validate(SweepFile, value, source)
