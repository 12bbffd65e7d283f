"""The dials of a simulated world, and the cells of a map. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from random import Random

from models.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Dials:
    """What a world is like. The logit of task t in category c is

        bias[t] + signal * (sqrt(shared) * f[c](x) + sqrt(1 - shared) * f[t](x))

    with functions f of mean 0 and variance 1 over the inputs.
    """

    tasks: int = 6
    """Number of tasks. The first half is the category 'watch', the rest 'interact'."""
    rate: float = 0.3
    """Share of positive rows of the commonest task, the first."""
    ratio: float = 10.0
    """Rate of the commonest task divided by that of the rarest; the others lie between,
    geometrically."""
    conflict: float = 0.0
    """Correlation of the two categories' functions: 1 the same, 0 unrelated, -1 opposed."""
    shared: float = 0.7
    """Share of a task's logit variance that it has in common with its category."""
    signal: float = 1.5
    """Standard deviation of the logits."""
    nonlinear: float = 0.7
    """Share of the variance of each function that is not linear in the inputs."""
    rows: int = 32_768
    """Rows to train on."""

    @property
    def rates(self) -> tuple[float, ...]:
        last = max(1, self.tasks - 1)
        return tuple(self.rate * self.ratio ** (-task / last) for task in range(self.tasks))

    @property
    def task_list(self) -> tuple[Task, ...]:
        watch = math.ceil(self.tasks / 2)
        return tuple(
            Task(name=f"task{i:02}", category="watch" if i < watch else "interact")
            for i in range(self.tasks)
        )

    @property
    def name(self) -> str:
        """Name of the cell's files: every dial's value."""
        return "_".join(f"{name}-{value:g}" for name, value in asdict(self).items())


NAMES = tuple(field.name for field in fields(Dials))
BASE = Dials()
LOGARITHMIC = ("tasks", "rate", "ratio", "signal", "rows")
"""Dials whose steps are factors."""


def dials_text(dials: Dials) -> str:
    """Return the dials that differ from the middle of the map."""
    usual = asdict(BASE)
    changed = [
        f"{name} {value:,g}" for name, value in asdict(dials).items() if value != usual[name]
    ]
    return ", ".join(changed) or "the middle"


@dataclass(frozen=True, slots=True)
class Grid:
    """A pair of dials and their values; the others are those of BASE."""

    x: str
    xs: tuple[float, ...]
    y: str
    ys: tuple[float, ...]

    def cells(self) -> Iterator[Dials]:
        for x, y in product(self.xs, self.ys):
            yield self.at(x, y)

    def at(self, x: float, y: float) -> Dials:
        return dials_of({**asdict(BASE), self.x: x, self.y: y})


def dials_of(values: dict[str, float]) -> Dials:
    whole = {name: int(values[name]) for name in ("tasks", "rows")}
    return Dials(**{**{name: float(value) for name, value in values.items()}, **whole})  # type: ignore[arg-type]


LOSING = {
    "one task": replace(BASE, tasks=1, ratio=1.0),
    "unrelated tasks": replace(BASE, shared=0.0),
    "linear truth": replace(BASE, nonlinear=0.0),
    "few rows": replace(BASE, rows=1_024),
    "identical tasks": replace(BASE, shared=1.0, conflict=1.0, ratio=1.0),
}
"""Worlds in which HoME's structure should not help."""

_ROWS = (4_096, 16_384, 65_536, 262_144)
FULL = (
    Grid("rows", _ROWS, "tasks", (2, 6, 12, 24)),
    Grid("conflict", (-1.0, -0.5, 0.0, 0.5, 1.0), "shared", (0.0, 0.35, 0.7, 1.0)),
    Grid("rows", _ROWS, "ratio", (1.0, 10.0, 100.0, 600.0)),
    Grid("tasks", (2, 6, 12, 24), "conflict", (-1.0, 0.0, 1.0)),
    Grid("signal", (0.7, 1.5, 3.0), "nonlinear", (0.0, 0.35, 0.7, 1.0)),
    Grid("rate", (0.5, 0.1, 0.02, 0.005), "ratio", (1.0, 10.0)),
)
FAST = (
    Grid("rows", (2_048, 8_192, 32_768), "tasks", (2, 6, 12)),
    Grid("conflict", (-1.0, 0.0, 1.0), "shared", (0.0, 0.7, 1.0)),
    Grid("ratio", (1.0, 10.0, 600.0), "nonlinear", (0.0, 0.7)),
)
_RANGES = {
    "tasks": (2, 16),
    "rate": (0.05, 0.5),
    "ratio": (1.0, 300.0),
    "conflict": (-1.0, 1.0),
    "shared": (0.0, 1.0),
    "signal": (0.7, 3.0),
    "nonlinear": (0.0, 1.0),
}


def random_cells(number: int, rows: Sequence[float]) -> list[Dials]:
    """Return cells with all dials random: what the rule of a map is tested on.

    Stratified: the values of a dial are spread evenly over its range.
    """
    random = Random(0)
    columns: dict[str, list[float]] = {}
    for name, (low, high) in _RANGES.items():
        places = [(i + random.random()) / number for i in range(number)]
        random.shuffle(places)
        columns[name] = [_between(low, high, place, name in LOGARITHMIC) for place in places]
    columns["rows"] = [rows[i % len(rows)] for i in range(number)]
    columns["tasks"] = [round(value) for value in columns["tasks"]]
    return [
        dials_of({name: float(f"{columns[name][i]:.3g}") for name in _RANGES} | {"rows": rows_i})
        for i, rows_i in enumerate(columns["rows"])
    ]


def _between(low: float, high: float, place: float, logarithmic: bool) -> float:
    return low * (high / low) ** place if logarithmic else low + (high - low) * place
