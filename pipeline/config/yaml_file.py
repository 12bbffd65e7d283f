"""Reads the YAML file of a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embeddings.strict_yaml import parse_yaml
from pipeline.io.errors import UserError
from pipeline.io.files import read_text


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the sections in a YAML file; {} for an empty one.

    Raises UserError in one line, with the file and if possible its line, for a file that is
    unreadable, not UTF-8 (a byte order mark is allowed), or rejected by `parse_yaml`.
    """
    try:
        tree = parse_yaml(read_text(path, remedy="save it as UTF-8"))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a {type(tree).__name__}; write sections, such as 'train:'")
    return tree
