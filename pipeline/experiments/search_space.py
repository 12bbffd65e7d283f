"""The search space: parses and validates `--search FIELD=VALUES` before anything runs.

dense.lr=1e-4:1e-2:log              a range on a logarithmic scale
model.tower.expert_dim=32:128:32    a range in steps
train.batch_size=128,256,512        choices
model.tower.expert_hidden=128|256,128   choices that contain commas
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from pipeline.config.auto import override
from pipeline.config.overrides import parse
from pipeline.config.renamed import renamed
from pipeline.config.tree import Config, build
from pipeline.io.errors import UserError, nearest

ParamValue = int | float | str
_FIXED_FIELDS = ("train.select", "data.path", "data.tasks")
_FORMS = "LOW:HIGH, LOW:HIGH:log, LOW:HIGH:STEP or A,B,C"


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Numbers from `low` to `high` inclusive; integers if both bounds are `int`."""

    field: str
    low: int | float
    high: int | float
    step: int | float | None = None
    """Distance between values; None: continuous (for integers: 1)."""
    log: bool = False

    @property
    def samples(self) -> tuple[ParamValue, ...]:
        """Values that the configuration must accept: both bounds and the first step."""
        if isinstance(self.low, int):  # a field may accept only multiples
            return self.low, self.low + (self.step or 1), self.high
        return self.low, self.high


@dataclass(frozen=True, kw_only=True, slots=True)
class OneOf:
    """One of several values, as written on the command line."""

    field: str
    values: tuple[str, ...]

    @property
    def samples(self) -> tuple[ParamValue, ...]:
        """Values that the configuration must accept: all of them."""
        return self.values


Dimension = Range | OneOf


def read_searches(texts: Sequence[str], base: Config, fixed: Iterable[str]) -> list[Dimension]:
    """Parse the searches over `base`. Raises UserError for an invalid one.

    `fixed`: fields with a value on the command line.
    """
    if not texts:
        raise UserError(
            "command line: nothing to search; give a field, as in --search dense.lr=1e-4:1e-2:log"
        )
    found: dict[str, Dimension] = {}
    for text in texts:
        search = read_search(text, base)
        if search.field in found:
            raise UserError(f"--search {text}: {search.field} is searched twice; remove one")
        found[search.field] = search
        for value in search.samples:
            laid_over(base, {search.field: value}, where=f"--search {text}")
    for field in fixed:
        if field in found:
            raise UserError(
                f"command line: {field} is searched and has a value (--{field}); remove one"
            )
    for kinds in (search for field, search in found.items() if field.endswith(".kind")):
        _check_kinds(kinds, found, base)
    return list(found.values())


def _check_kinds(kinds: Dimension, searches: Mapping[str, Dimension], base: Config) -> None:
    """Check that each search fits all searched kinds of a section, which have different fields."""
    for kind in kinds.samples:
        for field, search in searches.items():
            if field == kinds.field:
                continue
            for value in search.samples:
                where = f"--search {field} with {kinds.field}={kind}"
                laid_over(base, {kinds.field: kind, field: value}, where=where)


def laid_over(base: Config, params: Mapping[str, ParamValue], *, where: str) -> Config:
    """Return `base` with the values of a trial. Raises UserError, starting with `where`, if they
    are incompatible."""
    return build(override(base.model_dump(mode="json"), parse(words(params))), where=where)


def words(params: Mapping[str, ParamValue]) -> list[str]:
    """Return values as command-line options; the text of a float reads back as the same float."""
    return [f"--{field}={value}" for field, value in params.items()]


def read_search(text: str, base: Config) -> Dimension:
    """Parse one `FIELD=VALUES`. Raises UserError for an unknown field or invalid values."""
    where = f"--search {text}"
    field, equals, values = (part.strip() for part in text.partition("="))
    if not equals:
        raise UserError(f"{where}: write it as FIELD=VALUES, with VALUES {_FORMS}")
    if new := renamed(field):
        raise UserError(f"{where}: {field}: renamed to {new}")
    kind = _type_of(field, base, where)
    if field in _FIXED_FIELDS:
        raise UserError(f"{where}: trials are compared by it; fix it with --{field}")
    if not values:
        raise UserError(f"{where}: no values; write {_FORMS}")
    if ":" in values:
        return _range(field, values.split(":"), kind, where)
    if "|" not in values and "," not in values:
        raise UserError(f"{where}: only one value to search; fix it with --{field} {values}")
    choices = [choice.strip() for choice in values.split("|" if "|" in values else ",")]
    if "" in choices:
        raise UserError(f"{where}: an empty choice; write {_FORMS}")
    if twice := next((choice for choice in choices if choices.count(choice) > 1), None):
        raise UserError(f"{where}: {twice} is given twice; remove one")
    return OneOf(field=field, values=tuple(choices))


def _range(field: str, parts: list[str], kind: Any, where: str) -> Range:
    if kind not in (int, float):
        raise UserError(f"{where}: {field} is not a number, so it has no range; write A,B,C")
    if len(parts) > 3:
        raise UserError(f"{where}: {len(parts)} parts between colons; write {_FORMS}")
    low, high = (_number(part, kind, where) for part in parts[:2])
    mode = parts[2].strip() if len(parts) == 3 else None
    step = _number(mode, kind, where) if mode not in (None, "log") else None
    if low > high:
        raise UserError(f"{where}: low {low} is above high {high}; write {field}={high}:{low}")
    if low == high:
        raise UserError(f"{where}: only one value to search; fix it with --{field} {low}")
    if mode == "log" and low <= 0:
        raise UserError(f"{where}: low {low} has no logarithm; start above 0, or remove log")
    if step is not None:
        _check_step(field, low, high, step, where)
    return Range(field=field, low=low, high=high, step=step, log=mode == "log")


def _check_step(field: str, low: float, high: float, step: float, where: str) -> None:
    if step <= 0:
        raise UserError(f"{where}: step {step} must be above 0")
    first, last, width = (Decimal(str(number)) for number in (low, high, step))
    if rest := (last - first) % width:
        end = last - rest
        remedy = f"end at {end}" if end > first else "make it smaller"
        raise UserError(f"{where}: steps of {step} from {low} do not reach {high}; {remedy}")


def _number(text: str | None, kind: type[int] | type[float], where: str) -> int | float:
    try:
        number = kind(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        what = "a whole number" if kind is int else "a finite number"
        raise UserError(f"{where}: {text!r} is not {what}; write {_FORMS}")
    return number


def _type_of(field: str, base: Config, where: str) -> Any:
    """Return the type of a field of `base`; the fields of a section depend on its kind."""
    node: Any = base
    annotation: Any = Config
    path = ""
    for part in field.split("."):
        if isinstance(node, BaseModel):
            known = type(node).model_fields
            if part not in known or (not path and not isinstance(getattr(node, part), BaseModel)):
                sections = [name for name in known if path or name != "recipe"]
                raise UserError(f"{where}: unknown field {field!r}; {nearest(part, sections)}")
            annotation = _plain(known[part].annotation)
            node = getattr(node, part)
        elif get_origin(annotation) is Mapping:  # any key is allowed
            annotation = _plain(get_args(annotation)[1])
            is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
            node = annotation() if is_section else None
        else:
            raise UserError(f"{where}: unknown field {field!r}; {path} has no parts")
        path = f"{path}.{part}" if path else part
    if isinstance(node, BaseModel) or get_origin(annotation) is Mapping:
        raise UserError(f"{where}: {field} has parts; give one of them, as in {field}.NAME")
    return annotation


def _plain(annotation: Any) -> Any:
    """Remove constraints and None from an annotation."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return _plain(members[0]) if len(members) == 1 else annotation
    return annotation
