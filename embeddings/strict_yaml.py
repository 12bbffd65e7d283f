"""YAML, read strictly: what PyYAML lets pass and a person did not mean is an error here."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import yaml

from embeddings.quoted import quoted

_MAX_REPEATED = 100_000


def parse_yaml(text: str) -> Any:
    """The value in `text`; None for an empty one.

    Raises ValueError in one line, which begins with the line of the fault where that is known: what
    is not YAML, a key that is not text or is given twice, a value that contains itself, aliases
    that repeat more than 100,000 values, or a number that means another one in YAML (010 is 8).
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_repeated(node)
        return loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"character U+{ord(text[error.position]):04X}"
        raise ValueError(f"line {line}: not YAML: {character}; remove it") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line_of = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{line_of}not YAML: {error.problem}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply, or a value contains itself") from error
    except OverflowError as error:  # "\UFFFFFFFF"
        raise ValueError("not YAML: an escape that is no character") from error


def _check_repeated(root: yaml.Node) -> None:
    """A few aliases of aliases write out as more values than memory holds."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = 0  # of a value that contains itself, which is refused later
            parts = node.value if isinstance(node, yaml.CollectionNode) else ()
            if isinstance(node, yaml.MappingNode):
                parts = chain.from_iterable(parts)
            sizes[id(node)] = 1 + sum(map(size, parts))
        return sizes[id(node)]

    if size(root) - len(sizes) > _MAX_REPEATED:
        raise _fault(root, "aliases (*NAME) repeat over 100,000 values; write out what you need")


class _Loader(yaml.SafeLoader):
    """See `parse_yaml`. A date is text: a folder's name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":  # <<: *anchor
                continue
            if key.tag == "tag:yaml.org,2002:bool":  # a field called on
                key.tag = "tag:yaml.org,2002:str"
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise _fault(key, f"key {quoted(name)} is not text; quote it")
            if name in seen:
                raise _fault(key, f"{quoted(name)} is given twice; remove one")
            seen.add(name)
        # All at once, so that PyYAML finds an anchor inside its own value.
        return super().construct_mapping(node, deep=True)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # for example, !!int a
            raise _fault(node, str(error)[:200]) from error
        except (LookupError, TypeError) as error:  # !!bool x, !!int "", !!set [1]
            raise _fault(node, "the value does not fit its tag; remove the tag") from error


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    value = (
        loader.construct_yaml_int(node)
        if node.tag.endswith(":int")
        else loader.construct_yaml_float(node)
    )
    text = _text(loader, node)
    if ":" in text or re.match("[-+]?0[0-9]", text):  # 1:30 is 90, and 010 is 8
        raise _fault(node, f"{quoted(text)} is {quoted(value)} to YAML; write that, or quote it")
    return value


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)
_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def _fault(node: yaml.Node, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
