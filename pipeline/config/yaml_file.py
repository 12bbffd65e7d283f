"""A configuration's YAML file, read strictly: what PyYAML lets pass is an error here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipeline.io.errors import UserError
from pipeline.io.files import read_text


def read_yaml(path: Path) -> dict[str, Any]:
    """The sections in a YAML file; {} for an empty one.

    Raises UserError in one line, with the file and where known its line: a file that cannot be
    read, is not UTF-8 (a byte order mark may precede it) or not YAML, a key that is not text or
    is given twice, or a value that contains itself.
    """
    text = read_text(path, remedy="save it as UTF-8")
    try:
        tree = yaml.load(text, _Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"character U+{ord(text[error.position]):04X}"
        raise UserError(f"{path}: line {line}: not YAML: {character}; remove it") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line_of = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{path}: {line_of}not YAML: {error.problem}") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply, or a value contains itself") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a {type(tree).__name__}; write sections, such as 'train:'")
    return tree


class _Loader(yaml.SafeLoader):
    """Refuses keys that are not text or are given twice. A date is text: a folder's name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":  # <<: *anchor
                continue
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise _fault(key, f"key {name!r} is not text; quote it")
            if name in seen:
                raise _fault(key, f"{name!r} is given twice; remove one")
            seen.add(name)
        # All at once, so that PyYAML finds an anchor inside its own value.
        return super().construct_mapping(node, deep=True)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # for example, !!int a
            raise _fault(node, str(error)) from error


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)


def _fault(node: yaml.Node, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
