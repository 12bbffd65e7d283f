"""Explains an invalid configuration in one line: field, value, remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from embeddings.quoted import quoted
from pipeline.config.fields import entry_type, fields, section_types
from pipeline.io.errors import nearest

_REMEDIES = {
    "bool_parsing": "write true or false",
    "bool_type": "write true or false",
    "dict_type": "give entries, such as {field}.NAME",
    "finite_number": "write a finite number",
    "float_parsing": "write a number",
    "float_type": "write a number",
    "greater_than": "write a number > {gt}",
    "greater_than_equal": "write a number >= {ge}",
    "int_from_float": "write a whole number",
    "int_parsing": "write a whole number",
    "int_parsing_size": "write a smaller number",
    "int_type": "write a whole number",
    "less_than": "write a number < {lt}",
    "less_than_equal": "write a number <= {le}",
    "literal_error": "write {expected}",
    "mapping_type": "give entries, such as {field}.NAME",
    "model_attributes_type": "a section; give its fields, such as {field}.{first}",
    "model_type": "a section; give its fields, such as {field}.{first}",
    "multiple_of": "write a multiple of {multiple_of}",
    "path_type": "write a path",
    "string_type": "write text",
    "too_long": "write {max_length} values",
    "tuple_type": "write a list",
}


def explain(error: ValidationError, model: type[BaseModel], tree: Mapping[str, Any]) -> str:
    """Return the first error of `tree`, which is not a valid `model`."""
    first = error.errors(include_url=False)[0]
    path, kind = _written_path(first, tree)
    field = ".".join(path)
    match first["type"]:
        case "extra_forbidden":
            return _unknown(path, kind, model, tree)
        case "missing":
            return f"{field}: missing; give a value"
        case "union_tag_not_found":
            kinds = ", ".join(_kinds(model, path, tree))
            return f"{field}.kind: missing; write one of {kinds}"
        case "union_tag_invalid":
            tag = str(first["ctx"]["tag"])
            return f"{field}.kind: {tag!r}: {nearest(tag, _kinds(model, path, tree))}"
        case "value_error":
            remedy = first["msg"].removeprefix("Value error, ")
        case other if other in _REMEDIES:
            known = _names(model, path, tree) or [""]
            remedy = _REMEDIES[other].format(field=field, first=known[-1], **first.get("ctx", {}))
        case _:
            remedy = first["msg"][:1].lower() + first["msg"][1:]
    return f"{field}: {quoted(first['input'])}: {remedy}"


def _written_path(first: ErrorDetails, tree: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """Return the path of the error, and the kind of its section, if it has kinds.

    pydantic includes the kind of a union member in the path, although the user did not write it.
    """
    path: list[str] = []
    tag = kind = None
    node: Any = tree
    for part in first["loc"]:
        key, kind, tag = str(part), tag, None
        if isinstance(node, Mapping) and key in node:
            node = node[key]
        elif isinstance(node, (list, tuple)) and isinstance(part, int) and part < len(node):
            node = node[part]
        elif isinstance(node, Mapping) and node.get("kind") == key:
            tag = key
            continue
        path.append(key)
    return path, kind


def _unknown(
    path: list[str], kind: str | None, model: type[BaseModel], tree: Mapping[str, Any]
) -> str:
    """Suggest, for an unknown field, the nearest of its section or the same one elsewhere."""
    field, name = ".".join(path), path[-1]
    of_kind = f" of kind {kind!r}" if kind else ""
    elsewhere = [other.name for other in fields(model) if other.name.endswith(f".{name}")]
    if elsewhere and field not in elsewhere:
        hint = f"did you mean {' or '.join(map(repr, elsewhere))}?"
    else:
        hint = nearest(name, _names(model, path[:-1], tree))
    return f"unknown field {field!r}{of_kind}; {hint}"


def _kinds(model: type[BaseModel], path: list[str], tree: Mapping[str, Any]) -> list[str]:
    return [str(one.model_fields["kind"].default) for one in _members(model, path, tree)]


def _names(model: type[BaseModel], path: list[str], tree: Mapping[str, Any]) -> list[str]:
    """Return the fields of the section at `path`, of the kind given in `tree`."""
    members = _members(model, path, tree)
    node: Any = tree
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    kind = node.get("kind") if isinstance(node, Mapping) else None
    for member in members:
        if kind is None or member.model_fields["kind"].default == kind:
            return list(member.model_fields)
    return []


def _members(
    model: type[BaseModel], path: list[str], tree: Mapping[str, Any]
) -> list[type[BaseModel]]:
    """Return the possible classes of the section at `path`."""
    if not path:
        return [model]
    info = model.model_fields.get(path[0])
    if info is None:
        return []
    if (entry := entry_type(info.annotation)) is not None:
        return _members(entry, path[2:], {})
    members = section_types(info.annotation)
    inner = tree.get(path[0])
    inner = inner if isinstance(inner, Mapping) else {}
    if len(path) == 1:
        return members
    for member in members:
        if "kind" not in inner or member.model_fields["kind"].default == inner["kind"]:
            return _members(member, path[1:], inner)
    return []
