"""Generates docs/reference/configuration.md from the configuration classes: `make docs`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config.fields import (
    ConfigField,
    config_field,
    default_of,
    entry_type,
    section_types,
    type_name,
    value_name,
)
from pipeline.config.recipes import RECIPES, recipe
from pipeline.config.tree import Config

_HEAD = """\
# Configuration

A run is one configuration: a recipe, overridden by the YAML file of `--config`, overridden by
`--section.field VALUE` on the command line. An unknown field or an invalid value ends the command
before anything runs.

    homerec train demo --config run.yaml --train.epochs 2 --model.tower.kind mmoe

    # run.yaml
    train:
      batch_size: 4096
    model:
      tower: {kind: mmoe, num_experts: 8}

On the command line a list is `a,b`, and for a field 'by name' the name is the last part:
`--loss.task_weights.like 2`. If the `kind` of a section changes, its other fields start from the
defaults of the new kind.

This page is generated from the configuration classes (`make docs`)."""


def reference() -> str:
    """Return the page."""
    parts = [_HEAD]
    for name, info in Config.model_fields.items():
        if section_types(info.annotation):
            parts += _sections(name, info, default_of(info), level=2)
        elif entry := entry_type(info.annotation):
            parts += [
                f"## `{name}`",
                info.description or "",
                _table(_with_sections(f"{name}.NAME", entry)),
            ]
    parts.append("## Recipes\n\nFields set by each recipe; all others have their defaults.")
    for name in RECIPES:
        parts += [f"### {name}", _doc(RECIPES[name]), _differences(name)]
    return "\n\n".join(parts) + "\n"


def _sections(name: str, info: FieldInfo, default: Any, level: int) -> Iterator[str]:
    """Describe the section `name`; for a union, first the common fields, then each member."""
    members = section_types(info.annotation)
    shared: list[ConfigField] = []
    if len(members) > 1:
        yield f"{'#' * level} `{name}`"
        yield info.description or ""
        if base := _common_base(members):
            shared = _rows(name, base, None)
            yield "Fields of all kinds:"
            yield _table(shared)
    for member in members:
        kind = f": `kind: {member.model_fields['kind'].default}`" if len(members) > 1 else ""
        yield f"{'#' * (level + bool(kind))} `{name}`{kind}"
        yield _doc(member)
        chosen = default if isinstance(default, member) else None
        if rows := [row for row in _rows(name, member, chosen) if row not in shared]:
            yield _table(rows)
        for key, inner in member.model_fields.items():
            if section_types(inner.annotation):
                value = default_of(inner) if chosen is None else getattr(chosen, key)
                yield from _sections(f"{name}.{key}", inner, value, level + 1)


def _common_base(members: list[type[BaseModel]]) -> type[BaseModel] | None:
    """Return the nearest common base class with fields."""
    for base in members[0].__mro__:
        if issubclass(base, BaseModel) and base.model_fields and base is not members[0]:
            return base if all(issubclass(member, base) for member in members) else None
    return None


def _rows(name: str, model: type[BaseModel], default: BaseModel | None) -> list[ConfigField]:
    """Return the plain fields of a section, and of the entries of its mappings."""
    rows = []
    for key, info in model.model_fields.items():
        if section_types(info.annotation):
            continue
        value = default_of(info) if default is None else getattr(default, key)
        path = f"{name}.{info.alias or key}"
        rows.append(config_field(info, value, path))
        if entry := entry_type(info.annotation):
            number = "N" if get_origin(info.annotation) is tuple else "NAME"
            rows += _with_sections(f"{path}.{number}", entry)
    return rows


def _with_sections(name: str, section: type[BaseModel]) -> list[ConfigField]:
    """Return the fields of the entries of a mapping, with those of their sections."""
    rows = _rows(name, section, None)
    for key, info in section.model_fields.items():
        for inner in section_types(info.annotation):
            rows += _with_sections(f"{name}.{key}", inner)
    return rows


def _doc(documented: object) -> str:
    return inspect.getdoc(documented) or ""


def _table(rows: list[ConfigField]) -> str:
    lines = ["| field | value | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        value = type_name(row.annotation, row.constraints)
        default = "" if row.default == () else _code(row.default)
        cells = (f"`{row.name}`", value, default, row.help)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _differences(name: str) -> str:
    """Return the fields in which a recipe differs from the defaults."""
    lines = ["| field | value |", "|---|---|"]
    ours, defaults = recipe(name), Config(recipe=name)
    lines += [f"| `{key}` | {_code(value)} |" for key, value in _changed("", ours, defaults)]
    return "\n".join(lines) if len(lines) > 2 else "The defaults."


def _changed(prefix: str, ours: BaseModel, defaults: BaseModel) -> Iterator[tuple[str, Any]]:
    for key, value in ours:
        other = getattr(defaults, key, None)
        if isinstance(value, BaseModel) and isinstance(other, BaseModel):
            yield from _changed(f"{prefix}{key}.", value, other)
        elif value != other:
            yield f"{prefix}{key}", value


def _code(value: Any) -> str:
    text = value_name(value)
    return f"`{text}`" if text else ("`''`" if value in ((), "") else "")


if __name__ == "__main__":
    sys.stdout.write(reference())
