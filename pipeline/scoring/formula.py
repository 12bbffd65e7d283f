"""Ranking formulas: one score per row, from the probabilities of its tasks.

    formula = Formula("click + 2 * log(like)", ["click", "like"])
    scores = formula(probabilities)          # [rows, tasks] -> [rows]

Numbers, task names, `+ - * / **`, and the functions log, exp, min and max. A formula is parsed into
Python's syntax tree, of which only these nodes are accepted; it is never passed to `eval`.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.io.arrays import Float32Array
from pipeline.io.errors import UserError, nearest

Float64Array = NDArray[np.float64]
_Value = Float64Array | np.float64

_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_ONE_ARGUMENT: dict[str, Callable[[Any], Any]] = {"log": np.log, "exp": np.exp}
_MANY_ARGUMENTS: dict[str, Callable[[Any, Any], Any]] = {"min": np.minimum, "max": np.maximum}
_FUNCTIONS = [*_ONE_ARGUMENT, *_MANY_ARGUMENTS]
_LONGEST = 10_000
_DEEPEST = 100
_HELP = "a formula has numbers, task names, + - * / **, log, exp, min and max"


def default_formula(tasks: Sequence[str]) -> str:
    """Return the sum of all tasks' probabilities."""
    return " + ".join(map(quoted_task, tasks))


def quoted_task(task: str) -> str:
    """Return how a formula names a task: its name, or `task("...")` if that is no Python name."""
    is_name = task.isascii() and task.isidentifier() and task not in _FUNCTIONS and task != "task"
    return task if is_name and _parses(task) else f"task({task!r})"


def _parses(text: str) -> bool:
    try:
        return isinstance(ast.parse(text, mode="eval").body, ast.Name)
    except SyntaxError:  # a keyword
        return False


class Formula:
    """A validated formula over the probabilities of `tasks`."""

    def __init__(self, text: str, tasks: Sequence[str]) -> None:
        """Raises UserError for anything else than a formula, naming the position (from 1)."""
        self.text = text
        self._columns = {task: index for index, task in enumerate(tasks)}
        if len(text) > _LONGEST:
            raise UserError(f"formula: has {len(text)} characters; write at most {_LONGEST}")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            at = getattr(error, "offset", None) or 1
            raise UserError(
                f"formula: position {at} of {_shown(text)}: not complete; {_HELP}"
            ) from (error)
        self._text = text.strip()
        self._check(self._tree, 0)

    def __call__(self, probabilities: Float32Array) -> Float32Array:
        """Return the score of each row, float32 [rows], for probabilities [rows, tasks].

        Computed in float64. A score is NaN or infinite where the formula is (log of 0, 1 / 0).
        """
        wide = probabilities.astype(np.float64)
        with np.errstate(all="ignore"):
            found = self._value(self._tree, wide)
        scores = np.broadcast_to(np.asarray(found, dtype=np.float64), len(wide))
        with np.errstate(over="ignore"):
            return scores.astype(np.float32)

    def _check(self, node: ast.AST, depth: int) -> None:
        if depth > _DEEPEST:
            raise self._fault(node, f"nested more than {_DEEPEST} deep")
        if isinstance(node, ast.Constant):
            self._check_number(node)
        elif isinstance(node, ast.Name):
            self._check_task(node, node.id)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            self._check(node.operand, depth + 1)
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            self._check(node.left, depth + 1)
            self._check(node.right, depth + 1)
        elif isinstance(node, ast.Call):
            self._check_call(node, depth)
        else:
            raise self._fault(node, "has no meaning in a formula")

    def _check_number(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._fault(node, "is not a number")
        if abs(value) > 1e300 or not math.isfinite(value):
            raise self._fault(node, "is beyond 1e300")

    def _check_task(self, node: ast.AST, name: str) -> None:
        if name not in self._columns:
            known = [*self._columns, *_FUNCTIONS]
            raise self._fault(node, f"is not a task; {nearest(name, known)}")

    def _check_call(self, node: ast.Call, depth: int) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if node.keywords or any(isinstance(one, ast.Starred) for one in node.args):
            raise self._fault(node, "has an argument that is not a value")
        if name == "task":
            (named,) = node.args if len(node.args) == 1 else (None,)
            if not (isinstance(named, ast.Constant) and isinstance(named.value, str)):
                raise self._fault(node, 'is not the name of a task; write task("NAME")')
            self._check_task(named, named.value)
            return
        if name not in _FUNCTIONS:
            raise self._fault(node.func, f"is not a function; known: {', '.join(_FUNCTIONS)}")
        fewest, most = (1, 1) if name in _ONE_ARGUMENT else (2, 100)
        if not fewest <= len(node.args) <= most:
            wanted = "1 argument" if most == 1 else f"{fewest} to {most} arguments"
            raise self._fault(node, f"has {len(node.args)} arguments; {name} has {wanted}")
        for one in node.args:
            self._check(one, depth + 1)

    def _fault(self, node: ast.AST, what: str) -> UserError:
        at = getattr(node, "col_offset", 0)
        part = ast.get_source_segment(self._text, node) or self._text
        before = self._text.encode()[:at].decode(errors="ignore")
        return UserError(f"formula: position {len(before) + 1}: {_shown(part)} {what}; {_HELP}")

    def _value(self, node: ast.AST, wide: Float64Array) -> _Value:
        if isinstance(node, ast.Constant):
            return np.float64(node.value)  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            return wide[:, self._columns[node.id]]
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, wide)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp):
            left, right = (self._value(one, wide) for one in (node.left, node.right))
            return _OPERATORS[type(node.op)](left, right)
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        if node.func.id == "task":
            (named,) = node.args
            assert isinstance(named, ast.Constant)
            return wide[:, self._columns[str(named.value)]]
        values = [self._value(one, wide) for one in node.args]
        if node.func.id in _ONE_ARGUMENT:
            return _ONE_ARGUMENT[node.func.id](values[0])
        return reduce(_MANY_ARGUMENTS[node.func.id], values)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
