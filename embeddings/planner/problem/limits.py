"""Rules applied to the tables of a model: allowed options, pinned ranks, groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from embeddings.config import COLUMN_SPLIT
from embeddings.planner.inputs.rules import Rule
from embeddings.planner.problem.options import Option, Options


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Rules applied to the tables of a model (by index)."""

    rules: dict[int, tuple[Rule, ...]] = field(default_factory=dict)
    pins: dict[int, tuple[int, ...]] = field(default_factory=dict)
    groups: tuple[tuple[int, ...], ...] = ()
    """Tables on the same ranks."""
    hosts: dict[int, int] = field(default_factory=dict)
    """Table -> the number of its group, whose tables lie on one host."""
    types: frozenset[str] | None = None
    """Allowed sharding types; None: all."""

    def allows(self, option: Option) -> bool:
        if self.types is not None and option.sharding_type not in self.types:
            return False
        rules = self.rules.get(option.table, ())
        return all(rule.allows(option.sharding_type, option.kernel, option.width) for rule in rules)

    def nothing_left(self, options: Options, table: int) -> str:
        """Explain in one line why a table has no option."""
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
            f"without them: {', '.join(offered)}"
        )


def apply_rules(rules: Sequence[Rule], options: Options, ranks: int) -> Limits:
    """Apply `rules` to the tables of `options`.

    Raises ValueError for a rule without matching tables, a nonexistent rank, two rules that pin a
    table, or a table in two groups.
    """
    names = [table.name for table in options.tables]
    mine: dict[int, tuple[Rule, ...]] = {}
    pins: dict[int, tuple[int, ...]] = {}
    groups: list[tuple[int, ...]] = []
    grouped: set[int] = set()
    hosts: dict[int, int] = {}
    for rule in rules:
        matched = tuple(t for t, name in enumerate(names) if rule.matches(name))
        if not matched:
            shown = ", ".join(names[:10])
            raise ValueError(f"rule for {rule.tables!r}: no table of that name; tables: {shown}")
        for table in matched:
            mine[table] = (*mine.get(table, ()), rule)
            if rule.ranks and pins.setdefault(table, rule.ranks) != rule.ranks:
                raise ValueError(f"table {names[table]!r}: two rules pin it; remove one")
        for table in matched if rule.width else ():
            _check_width(rule, options, table)
        wrong = [rank for rank in rule.ranks if not 0 <= rank < ranks]
        if wrong:
            raise ValueError(
                f"rule for {rule.tables!r}: no rank {wrong[0]}; ranks are 0 to {ranks - 1}"
            )
        if rule.together == "host":
            again = [names[table] for table in matched if table in hosts]
            if again:
                raise ValueError(f"table {again[0]!r}: two rules keep it on a host; drop one")
            hosts |= dict.fromkeys(matched, len(hosts))
        elif rule.together and len(matched) > 1:
            twice = grouped.intersection(matched)
            if twice:
                name = names[min(twice)]
                raise ValueError(f"table {name!r}: two rules keep it together; remove one")
            grouped.update(matched)
            groups.append(matched)
    # A group is pinned to the ranks of its first pinned member.
    for group in groups:
        pinned = {pins[t] for t in group if t in pins}
        if len(pinned) > 1:
            name = names[group[0]]
            raise ValueError(f"the tables kept with {name!r} are pinned to different ranks")
        if pinned:
            pins[group[0]] = pinned.pop()
    limits = Limits(rules=mine, pins=pins, groups=tuple(groups), hosts=hosts)
    for table, own in mine.items():
        for rule in own:
            if rule.width:
                _check_split(rule, limits, options, table)
    return limits


def _check_split(rule: Rule, limits: Limits, options: Options, table: int) -> None:
    """ValueError if the rules together leave the width of one of them without effect."""
    allowed = [
        option
        for option in (options.options[n] for n in options.of(table))
        if limits.allows(option)
    ]
    if allowed and not any(option.sharding_type in COLUMN_SPLIT for option in allowed):
        kinds = ", ".join(dict.fromkeys(option.sharding_type for option in allowed))
        raise ValueError(
            f"rule for {rule.tables!r}: width {rule.width}: the rules leave table "
            f"{options.tables[table].name!r} only {kinds}, of which none splits columns; allow "
            f"one of {', '.join(COLUMN_SPLIT)}, or drop the width"
        )


def _check_width(rule: Rule, options: Options, table: int) -> None:
    """ValueError if TorchRec cannot cut the table's columns so."""
    possible = {
        option.width
        for option in (options.options[n] for n in options.of(table))
        if option.sharding_type in COLUMN_SPLIT
    }
    if rule.width in possible:
        return
    model_table = options.tables[table]
    dim = model_table.tensor.shape[1]
    widths = ", ".join(str(width) for width in range(4, dim + 1, 4) if dim % width == 0)
    known = f"widths of its {dim} columns: {widths}" if possible else "no type splits its columns"
    raise ValueError(
        f"rule for {rule.tables!r}: width {rule.width}: table {model_table.name!r} has no such "
        f"shards; {known}"
    )
