"""Rules of a plan, by table name or pattern."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from torchrec.distributed.planner.types import ParameterConstraints

from embeddings.config import SHARDING_TYPES
from embeddings.frozen import Frozen
from embeddings.planner.inputs.yaml_files import read_yaml, validate

KERNELS = ("dense", "fused", "fused_uvm", "fused_uvm_caching")


class Rule(Frozen):
    """Requirements on all tables whose name matches; several matching rules all apply."""

    tables: str
    """Name or pattern ('user_*')."""
    types: tuple[str, ...] = ()
    """Sharding types allowed; none named: all."""
    kernels: tuple[str, ...] = ()
    """Compute kernels allowed; none named: all."""
    forbid_types: tuple[str, ...] = ()
    """Sharding types forbidden."""
    forbid_kernels: tuple[str, ...] = ()
    """Compute kernels forbidden."""
    width: int | None = Field(default=None, ge=4, multiple_of=4)
    """Columns of a shard, of types that split columns."""
    ranks: tuple[int, ...] = ()
    """The rank of every shard, in order (row-wise and data-parallel tables have no choice)."""
    together: bool = False
    """The tables that match stay on the same ranks, shard for shard (table-wise or column-wise)."""

    @field_validator("types", "forbid_types")
    @classmethod
    def _known_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value, SHARDING_TYPES, "sharding type")

    @field_validator("kernels", "forbid_kernels")
    @classmethod
    def _known_kernels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value, KERNELS, "kernel")

    @model_validator(mode="after")
    def _demands(self) -> Self:
        if self.model_fields_set <= {"tables"}:
            raise ValueError(
                f"the rule for {self.tables!r} requires nothing; add a requirement, or drop it"
            )
        return self

    def matches(self, name: str) -> bool:
        return fnmatchcase(name, self.tables)

    def allows(self, sharding_type: str, kernel: str, width: int, dim: int) -> bool:
        """`width`: columns of a shard of a table that has `dim`."""
        return (
            (not self.types or sharding_type in self.types)
            and (not self.kernels or kernel in self.kernels)
            and sharding_type not in self.forbid_types
            and kernel not in self.forbid_kernels
            and (self.width is None or width == self.width or width == dim)
        )


class RuleList(Frozen):
    """The rules of a file."""

    rules: tuple[Rule, ...] = Field(min_length=1)


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a YAML file: a list of them under `rules`. ValueError, in one line."""
    return validate(RuleList, read_yaml(path), path).rules


def offered(
    usage: Mapping[str, ParameterConstraints], rules: Sequence[Rule]
) -> dict[str, ParameterConstraints]:
    """`usage`, so that TorchRec offers what rules name: grid_shard it keeps back unless asked."""
    return {
        name: dataclasses.replace(known, sharding_types=list(SHARDING_TYPES))
        if not known.sharding_types
        and any("grid_shard" in rule.types and rule.matches(name) for rule in rules)
        else known
        for name, known in usage.items()
    }


def _known(value: tuple[str, ...], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    for name in value:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}")
    return value
