"""What a person demands of a plan: table by table, by pattern."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from torchrec.distributed.planner.types import ParameterConstraints

from embeddings.planner.inputs.yaml_files import Frozen, read_yaml, validate
from embeddings.planner.search.options import Option, Options
from embeddings.sharders import SHARDING_TYPES

KERNELS = ("dense", "fused", "fused_uvm", "fused_uvm_caching")


class Rule(Frozen):
    """Demands on all tables whose name matches; where several rules do, all of them hold."""

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
            raise ValueError(f"the rule for {self.tables!r} demands nothing; say what, or drop it")
        return self

    def matches(self, name: str) -> bool:
        return fnmatchcase(name, self.tables)

    def allows(self, option: Option, dim: int) -> bool:
        split = option.width < dim
        return (
            (not self.types or option.sharding_type in self.types)
            and (not self.kernels or option.kernel in self.kernels)
            and option.sharding_type not in self.forbid_types
            and option.kernel not in self.forbid_kernels
            and (self.width is None or option.width == self.width or not split)
        )


class RuleList(Frozen):
    """The demands of a file."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Rules, applied to the tables of a model (by index)."""

    rules: dict[int, tuple[Rule, ...]] = field(default_factory=dict)
    dims: tuple[int, ...] = ()
    pins: dict[int, tuple[int, ...]] = field(default_factory=dict)
    groups: tuple[tuple[int, ...], ...] = ()
    types: frozenset[str] | None = None
    """The only sharding types to use; None: all."""

    def allows(self, option: Option) -> bool:
        if self.types is not None and option.sharding_type not in self.types:
            return False
        rules = self.rules.get(option.table, ())
        return all(rule.allows(option, self.dims[option.table]) for rule in rules)

    def nothing_left(self, options: Options, table: int) -> str:
        """Why a table has no option, in one line."""
        name = options.tables[table].name
        offered = sorted(
            {
                f"{options.options[n].sharding_type} {options.options[n].kernel}"
                for n in options.of(table)
            }
        )
        patterns = ", ".join(repr(rule.tables) for rule in self.rules.get(table, ()))
        return (
            f"table {name!r}: the rules for {patterns} leave it no option; "
            f"it could be: {', '.join(offered)}"
        )


def apply_rules(rules: Sequence[Rule], options: Options, ranks: int) -> Limits:
    """`rules` on the tables of `options`.

    Raises ValueError for a rule that no table matches, a rank that does not exist, two rules that
    pin a table, or a table in two groups.
    """
    names = [table.name for table in options.tables]
    mine: dict[int, tuple[Rule, ...]] = {}
    pins: dict[int, tuple[int, ...]] = {}
    groups: list[tuple[int, ...]] = []
    grouped: set[int] = set()
    for rule in rules:
        matched = tuple(t for t, name in enumerate(names) if rule.matches(name))
        if not matched:
            shown = ", ".join(names[:10])
            raise ValueError(f"rule for {rule.tables!r}: no table of that name; tables: {shown}")
        for table in matched:
            mine[table] = (*mine.get(table, ()), rule)
            if rule.ranks and pins.setdefault(table, rule.ranks) != rule.ranks:
                raise ValueError(f"table {names[table]!r}: two rules pin it; drop one")
        wrong = [rank for rank in rule.ranks if not 0 <= rank < ranks]
        if wrong:
            raise ValueError(
                f"rule for {rule.tables!r}: no rank {wrong[0]}; ranks are 0 to {ranks - 1}"
            )
        if rule.together and len(matched) > 1:
            twice = grouped.intersection(matched)
            if twice:
                name = names[min(twice)]
                raise ValueError(f"table {name!r}: two rules keep it together; drop one")
            grouped.update(matched)
            groups.append(matched)
    # A group goes where its first pinned member goes.
    for group in groups:
        pinned = {pins[t] for t in group if t in pins}
        if len(pinned) > 1:
            name = names[group[0]]
            raise ValueError(f"the tables kept with {name!r} are pinned to different ranks")
        if pinned:
            pins[group[0]] = pinned.pop()
    return Limits(
        rules=mine,
        dims=tuple(table.tensor.shape[1] for table in options.tables),
        pins=pins,
        groups=tuple(groups),
    )


def _known(value: tuple[str, ...], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    for name in value:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}")
    return value
