"""Options that several verbs of `homerec plan` share. Imports no planner: help is immediate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launchers.cli.command import Natural, Positive

SERVE = 0.95
"""Share of lookups that a cache serves, unless an option says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What a plan depends on, beside the model."""

    cluster: tuple[str, ...]
    """.yaml file, or a preset: h100, h100-8x16 (devices a host x hosts), cpu-2x1, ...; 'plan find'
    compares several: --cluster once for each."""
    batch_size: Positive | None = None
    """rows a rank (default: train.batch_size / ranks; a table list has no default)."""
    constraints: Path | None = None
    """rules by table pattern (.yaml)."""
    data: Path | None = None
    """table statistics: a prepared folder, a Parquet file or folder to count them in, or a file
    that 'plan table-stats' wrote."""
    fold: bool = False
    """take ids in --data modulo the rows of a table (table lists only)."""
    serve: float = SERVE
    """share of lookups that a cache in device memory has to serve, with --data."""
    qcomm: str | None = None
    """TYPE[,TYPE] that rows, and then their gradients, are sent as: fp32, fp16, bf16, fp8, int8."""
    pipeline: str | None = None
    """TorchRec train pipeline whose batches take memory: none, sparse_dist, prefetch."""
    reserve: str | None = None
    """memory kept from tables: heuristic=SHARE, fixed_percentage=SHARE or fixed_absolute=GIB
    (default: heuristic=0.15)."""
    dense_gib: float | None = None
    """memory of the dense half on a rank, GiB (default: six times its weights)."""
    replica_groups: str | None = None
    """2D parallelism: number of groups of ranks that each hold all tables (default: 1)."""
    sync_every: str | None = None
    """steps between two averagings of replicas."""
    replicas_across_hosts: bool = False
    """make groups of neighbouring ranks (default: copies within a host, if possible)."""
    rounds: Natural = 20_000
    """rounds of the search; with the seed they determine the plan."""
    seconds: Natural = 30
    """seconds after which the search is cut off."""
    seed: int = 0
    """seed of the search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """Where results go."""

    out: Path | None = None
    """JSON file to write."""
    page: Path | None = None
    """HTML page to write."""
    json: bool = False
    """print JSON, no tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatOptions:
    """How often plans are measured."""

    rounds: Positive = 5
    """rounds, in each of which every plan is built and run."""
    repeats: Positive = 6
    """measured steps of a plan in a round, after one that does not count."""
