"""The design of a map: cells, seeds, towers at equal cost, and how they are trained."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from models.towers.config import HomeConfig, TowerConfig
from models.towers.cost import cost, matched
from models.towers.variants import VARIANTS, variant
from pipeline.experiments.file_types import HOME
from pipeline.experiments.map.dials import FAST, FULL, LOSING, Dials, Grid, random_cells
from pipeline.experiments.map.world import NUM_FEATURES
from pipeline.io.errors import UserError, nearest

BASE_TOWER = HomeConfig(
    expert_hidden=(32,), expert_dim=16, tower_hidden=(16,), num_masks=2, mask_rank=4
)
"""HoME of the map. The widths of the others are scaled to its FLOPs."""
DEFAULT_RIVALS = ("mmoe*", "ple*")
"""Besides the towers of 'homerec compare': rivals with HoME's kind of expert, without which a map
would show what normalization and Swish do rather than HoME's structure."""
_TEST_CELLS = 4
"""Every so many cells of the grids, one random cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the towers of a cell are trained, and on how many rows they are tested."""

    learning_rates: tuple[float, ...]
    """Each tower is trained with all; validation chooses, by tower, cell and seed."""
    batch_size: int = 256
    least_steps: int = 256
    """Fewer rows than these steps take are read several times."""
    test_rows: int = 16_384

    def num_steps(self, rows: int) -> int:
        """Return the number of steps, which is the same for all towers."""
        return max(self.least_steps, rows // self.batch_size)


_FAST_TRAINING = Training(learning_rates=(1e-2,), least_steps=160)
_FULL_TRAINING = Training(learning_rates=(3e-3, 1e-2))


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPlan:
    """Everything that the results of a map depend on."""

    kind: str
    """'fast' or 'full'."""
    towers: tuple[str, ...]
    seeds: tuple[int, ...]
    grids: tuple[Grid, ...]
    extra: tuple[Dials, ...]
    """Cells outside the grids: those where HoME should lose, and random ones."""
    training: Training

    @property
    def cells(self) -> tuple[Dials, ...]:
        grids = (cell for grid in self.grids for cell in grid.cells())
        return tuple(dict.fromkeys([*grids, *self.extra]))

    @property
    def jobs(self) -> Iterator[Job]:
        """Yield all jobs: every cell of a seed, then the next seed."""
        for seed in self.seeds:
            for cell in self.cells:
                yield Job(cell, seed, self.towers, self.training)


@dataclass(frozen=True, slots=True)
class Job:
    """A cell and a seed: all towers, side by side."""

    cell: Dials
    seed: int
    towers: tuple[str, ...]
    training: Training

    @property
    def path(self) -> str:
        """Path of the result in the map's folder."""
        return f"cells/{self.cell.name}/seed-{self.seed}.json"


def design_map(kind: str, towers: Sequence[str], seeds: int | None) -> MapPlan:
    """Return the plan of a map. Raises UserError for an unknown tower, or without HoME."""
    for name in towers:
        if name not in VARIANTS:
            known = nearest(name, list(VARIANTS))
            raise UserError(f"command line: --towers: unknown tower {name!r}; {known}")
    if HOME not in towers or all(name.startswith(HOME) for name in towers):
        raise UserError(
            f"command line: --towers {','.join(towers)}: name {HOME} and at least one rival, "
            "a tower other than HoME and its ablations"
        )
    grids, rows = (FAST, (4_096, 16_384)) if kind == "fast" else (FULL, (8_192, 32_768, 131_072))
    num_cells = sum(len(grid.xs) * len(grid.ys) for grid in grids)
    extra = (*LOSING.values(), *random_cells(num_cells // _TEST_CELLS, rows))
    plan = MapPlan(
        kind=kind,
        towers=tuple(dict.fromkeys(towers)),
        seeds=tuple(range(seeds or (3 if kind == "fast" else 4))),
        grids=grids,
        extra=extra,
        training=_FAST_TRAINING if kind == "fast" else _FULL_TRAINING,
    )
    for name, num_tasks in product(plan.towers, {cell.tasks for cell in plan.cells}):
        try:
            tower_config(name, num_tasks)
        except ValueError as error:
            raise UserError(
                f"command line: --towers: {name} with {num_tasks} tasks: {error}; leave it out"
            ) from error
    return plan


@functools.cache
def tower_config(name: str, num_tasks: int) -> TowerConfig:
    """Return a tower at the FLOPs of BASE_TOWER. The FLOPs depend on the dial `tasks` alone.

    Raises ValueError if no widths are near.
    """
    tasks = Dials(tasks=num_tasks).task_list
    config = variant(name, BASE_TOWER)
    if name == HOME or VARIANTS[name].ablation:
        return config
    return matched(config, cost(BASE_TOWER, NUM_FEATURES, tasks), "flops", NUM_FEATURES, tasks)
