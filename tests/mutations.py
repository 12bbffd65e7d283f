"""Files with something changed: bytes as a disk may damage them, and JSON as a person may edit it.

HOMEREC_MUTATIONS=500 tries that many of each file, instead of 50.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.io.errors import UserError

COUNT = int(os.environ.get("HOMEREC_MUTATIONS", "50"))

# What a value becomes, whatever it was.
_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    3,
    0.5,
    -0.5,
    2**31,
    2**53,
    2**63,
    10**400,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "..",
    "/",
    "a\nb",
    "\ud800",
    "x" * 300,
    [],
    [None],
    [[]],
    {},
    {"": None},
    {"x": {"x": []}},
)
_NAMES = ("", "x", "..", "home", "train", "click", "step")


def json_mutations(value: Any, *, seed: int = 0, count: int = COUNT) -> Iterator[Any]:
    """`value` with one or two of its parts replaced, left out, doubled, renamed or swapped."""
    rng = random.Random(seed)
    for _ in range(count):
        root = [copy.deepcopy(value)]
        for _ in range(rng.choice((1, 1, 2))):
            _change(root, rng)
        yield root[0]


def _change(root: list[Any], rng: random.Random) -> None:
    places = list(_places(root))
    # Small files are few places: all are as likely. Of a long list one is as good as another.
    parent, key = rng.choice(places)
    verb = rng.choice(("replace", "replace", "replace", "remove", "double", "rename", "swap"))
    if parent is root:
        verb = "replace"
    if verb == "replace":
        parent[key] = copy.deepcopy(rng.choice(_VALUES))
    elif verb == "remove":
        del parent[key]
    elif verb == "swap":
        other, name = rng.choice(places)
        parent[key] = copy.deepcopy(other[name])
    elif isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif verb == "rename":
        parent[rng.choice(_NAMES)] = parent.pop(key)
    else:
        parent[rng.choice(_NAMES)] = copy.deepcopy(parent[key])


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = range(len(node)) if isinstance(node, list) else list(node)
    for key in keys:
        yield node, key
        if isinstance(node[key], (dict, list)):
            yield from _places(node[key])


def byte_mutations(data: bytes, *, seed: int = 0, count: int = COUNT) -> Iterator[bytes]:
    """`data` with bits flipped, bytes overwritten, cut out, put in or doubled, or cut short."""
    rng = random.Random(seed)
    for _ in range(count):
        found = bytearray(data)
        place, length = rng.randrange(len(found)), rng.choice((1, 1, 4, 40))
        verb = rng.choice(("flip", "flip", "set", "remove", "insert", "double", "cut"))
        if verb == "flip":
            found[place] ^= 1 << rng.randrange(8)
        elif verb == "set":
            found[place : place + length] = rng.randbytes(length)
        elif verb == "remove":
            del found[place : place + length]
        elif verb == "insert":
            found[place:place] = rng.randbytes(length)
        elif verb == "double":
            found[place:place] = found[place : place + length]
        else:
            del found[place:]
        yield bytes(found)


def text_mutations(text: str, *, seed: int = 0, count: int = COUNT) -> Iterator[bytes]:
    """Half of them changed as JSON (a line of it, if there are several values), half as bytes."""
    lines = text.splitlines()
    try:
        values = [json.loads(text)]
    except ValueError:
        values = [json.loads(line) for line in lines]
    for value in json_mutations(values, seed=seed, count=count - count // 2):
        changed = value if isinstance(value, list) else [value]
        yield "".join(json.dumps(part) + "\n" for part in changed).encode()
    yield from byte_mutations(text.encode(), seed=seed, count=count // 2)


def assert_read_or_refused(read: Callable[[], object], what: object) -> bool:
    """Whether `read` succeeds; else it must raise one UserError of one line, nothing else."""
    try:
        read()
    except UserError as error:
        message = str(error)
        assert message.splitlines() == [message], f"{what!r}: {message!r}"
        assert len(message) < 2_000, f"{what!r}: {message!r}"
        return False
    except BaseException as error:
        raise AssertionError(f"{what!r}: {type(error).__name__}: {error}") from error
    return True


@contextmanager
def planner_errors() -> Iterator[None]:
    """The planner's word for a user's mistake is ValueError, of one line."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        if "\n" in str(error):
            raise
        raise UserError(str(error)) from error
