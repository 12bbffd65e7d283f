"""Collects the fields of a configuration from its classes."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class ConfigField(NamedTuple):
    """A field with a value, not a section."""

    name: str
    """Dotted name, as on a command line: 'train.epochs'."""
    annotation: Any
    default: Any
    """Default; None if there is none."""
    help: str
    constraints: tuple[Any, ...]
    """Constraints of annotated_types: Ge(0), MultipleOf(4)."""


def fields(
    model: type[BaseModel], default: BaseModel | None = None, prefix: str = ""
) -> Iterator[ConfigField]:
    """Return every field in `model` and its sections.

    Members of a union follow each other. A name shared by several members is listed once, with the
    default of the chosen member and the literals of all: `kind` is 'home, mmoe or ple'.
    """
    for name, info in model.model_fields.items():
        value = getattr(default, name, None) if default is not None else default_of(info)
        sections = section_types(info.annotation)
        if not sections:
            yield config_field(info, value, f"{prefix}{name}")
        found: dict[str, ConfigField] = {}
        for section in sorted(sections, key=lambda one: not isinstance(value, one)):
            chosen = value if isinstance(value, section) else section.model_construct()
            for field in fields(section, chosen, f"{prefix}{name}."):
                first = found.setdefault(field.name, field)
                if get_origin(first.annotation) is get_origin(field.annotation) is Literal:
                    literals = (*get_args(first.annotation), *get_args(field.annotation))
                    found[field.name] = first._replace(annotation=Literal[literals])
        yield from found.values()


def config_field(info: FieldInfo, default: Any, name: str) -> ConfigField:
    text = " ".join((info.description or "").split())
    return ConfigField(name, info.annotation, default, text, tuple(info.metadata))


def default_of(info: FieldInfo) -> Any:
    return None if info.is_required() else info.get_default(call_default_factory=True)


def section_types(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that an annotation allows: one, the members of a union, or none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if _is_union(annotation) or hasattr(annotation, "__metadata__"):
        return [model for part in get_args(annotation) for model in section_types(part)]
    return []


def entry_type(annotation: Any) -> type[BaseModel] | None:
    """Return the section class of the entries of a mapping or list; None if they are values."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Mapping:
        return next(iter(section_types(args[1])), None)
    return next(iter(section_types(args[0])), None) if origin is tuple else None


def type_name(annotation: Any, constraints: tuple[Any, ...] = ()) -> str:
    """'int >= 1', 'list of str', 'on, off or auto', '{name: float}'."""
    origin, args = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):  # Annotated[X, ...]
        metadata = [getattr(item, "metadata", [item]) for item in annotation.__metadata__]
        return type_name(args[0], (*constraints, *(one for some in metadata for one in some)))
    if _is_union(annotation):
        names = [type_name(part, constraints) for part in args if part is not type(None)]
        return " or ".join(names)
    if str(origin) == "typing.Literal":
        *most, last = map(str, args)
        return f"{', '.join(most)} or {last}" if most else last
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "{...}"
    if origin is tuple:
        of = type_name(args[0])
        return f"list of {of}" if args[-1] is Ellipsis else f"list of {len(args)} {of}"
    if origin is Mapping:
        return f"{{name: {'{...}' if section_types(args[1]) else type_name(args[1])}}}"
    name = {"Path": "path", "bool": "true or false"}.get(annotation.__name__, annotation.__name__)
    return " ".join([name, _limits(constraints)]).strip()


_SIGNS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"), ("multiple_of", "a multiple of"))


def _limits(constraints: tuple[Any, ...]) -> str:
    found = [
        f"{sign} {value}"
        for key, sign in _SIGNS
        for one in constraints
        if (value := getattr(one, key, None)) is not None
    ]
    return ", ".join(found)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def value_name(value: Any) -> str:
    """Format a value as on a command line; '' if there is nothing to show."""
    if value is None or value == () or value == {}:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
