"""Rules that restrict a plan, by table name or pattern."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from torchrec.distributed.planner.constants import MIN_CW_DIM
from torchrec.distributed.planner.types import ParameterConstraints

from embeddings.config import COLUMN_SPLIT, SHARDING_TYPES
from embeddings.frozen import Frozen
from embeddings.planner.inputs.files import read_yaml, validate
from embeddings.planner.inputs.table_list import Columns

_OFFERED = ("dense", "fused", "fused_uvm", "fused_uvm_caching")
ASKED_FOR = ("key_value", "ssd_virtual_table", "dram_virtual_table", "dram_ssd_virtual_table")
"""Kernels that TorchRec prices, on CUDA, only where they are named."""
KERNELS = (*_OFFERED, *ASKED_FOR)


class Rule(Frozen):
    """Requirements on all tables with a matching name. All matching rules apply."""

    tables: str
    """Name or pattern ('user_*')."""
    types: tuple[str, ...] = ()
    """Allowed sharding types; empty: all."""
    kernels: tuple[str, ...] = ()
    """Allowed compute kernels; empty: all."""
    forbid_types: tuple[str, ...] = ()
    """Forbidden sharding types."""
    forbid_kernels: tuple[str, ...] = ()
    """Forbidden compute kernels."""
    width: Columns | None = None
    """Columns per shard, for types that split columns; other types stay allowed."""
    ranks: tuple[int, ...] = ()
    """The rank of every shard, in order (row-wise and data-parallel tables have no choice)."""
    together: bool | Literal["host"] = False
    """true: keep matching tables on the same ranks, shard by shard (table-wise or column-wise).
    host: keep all their shards on one host, on any of its ranks."""

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
                f"the rule for {self.tables!r} has no requirement; add one, or remove the rule"
            )
        return self

    def matches(self, name: str) -> bool:
        return fnmatchcase(name, self.tables)

    def allows(self, sharding_type: str, kernel: str, width: int) -> bool:
        """Whether the rule allows shards with `width` columns."""
        return (
            (not self.types or sharding_type in self.types)
            and (not self.kernels or kernel in self.kernels)
            and sharding_type not in self.forbid_types
            and kernel not in self.forbid_kernels
            and (self.width in (None, width) or sharding_type not in COLUMN_SPLIT)
        )


class RuleList(Frozen):
    """Rules of a file."""

    rules: tuple[Rule, ...] = Field(min_length=1)


def load_rules(path: Path) -> tuple[Rule, ...]:
    """Load the rules of a YAML file, a list under `rules`. Raises ValueError in one line."""
    return validate(RuleList, read_yaml(path), path).rules


def offered(
    usage: Mapping[str, ParameterConstraints], rules: Sequence[Rule]
) -> dict[str, ParameterConstraints]:
    """Return `usage` such that TorchRec offers what the rules name; by default it omits grid_shard
    and shards of less than 128 columns."""
    return {
        name: _opened(known, [rule for rule in rules if rule.matches(name)])
        for name, known in usage.items()
    }


def _opened(known: ParameterConstraints, rules: Sequence[Rule]) -> ParameterConstraints:
    changes: dict[str, Any] = {}
    if not known.sharding_types and any("grid_shard" in rule.types for rule in rules):
        changes["sharding_types"] = list(SHARDING_TYPES)
    named = [kernel for kernel in ASKED_FOR if any(kernel in rule.kernels for rule in rules)]
    if named and not known.compute_kernels:
        changes["compute_kernels"] = [*_OFFERED, *named]
    widths = [rule.width for rule in rules if rule.width]
    if widths and min(widths) < (known.min_partition or MIN_CW_DIM):
        changes["min_partition"] = min(widths)
    return dataclasses.replace(known, **changes) if changes else known


def _known(value: tuple[str, ...], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    for name in value:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}")
    return value
