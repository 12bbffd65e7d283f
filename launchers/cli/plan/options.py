"""Options shared by the commands of `homerec plan`. Does not import the planner: help is fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launchers.cli.command import Natural, Positive

SERVE = 0.95
"""Default share of lookups that a cache serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Inputs of a plan other than the model."""

    cluster: tuple[str, ...]
    """.yaml file, or a preset: h100, h100-8x16 (devices per host x hosts), cpu-2x1, ...; repeat it
    to compare clusters with 'plan find'."""
    batch_size: Positive | None = None
    """rows per rank (default: train.batch_size / ranks; a table list has no default)."""
    constraints: Path | None = None
    """rules by table pattern (.yaml)."""
    data: Path | None = None
    """data to count table statistics in (a prepared folder, a Parquet file or folder), or a file
    written by 'plan table-stats'."""
    fold: bool = False
    """take ids in --data modulo the rows of a table (table lists only)."""
    serve: float = SERVE
    """share of lookups that a cache in device memory must serve, with --data."""
    qcomm: str | None = None
    """TYPE[,TYPE] of sent embeddings and of their gradients: fp32, fp16, bf16, fp8, int8."""
    pipeline: str | None = None
    """TorchRec train pipeline whose batches in flight take memory: none, sparse_dist, prefetch."""
    reserve: str | None = None
    """memory reserved for other uses: heuristic=SHARE, fixed_percentage=SHARE or fixed_absolute=GIB
    (default: heuristic=0.15)."""
    dense_gib: float | None = None
    """memory of the dense part per rank, GiB (default: six times its weights)."""
    replica_groups: str | None = None
    """2D parallelism: number of groups of ranks, each with all tables (default: 1)."""
    sync_every: str | None = None
    """steps between averages of replicas."""
    replicas_across_hosts: bool = False
    """put adjacent ranks into a group (default: replicas within a host, if possible)."""
    rounds: Natural = 20_000
    """rounds of the search; rounds and seed determine the plan."""
    seconds: Natural = 30
    """time limit of the search, seconds."""
    seed: int = 0
    """seed of the search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """Output files and format."""

    out: Path | None = None
    """JSON file to write."""
    page: Path | None = None
    """HTML page to write."""
    json: bool = False
    """print JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatOptions:
    """How often plans are measured."""

    rounds: Positive = 5
    """number of rounds; each builds and runs every plan."""
    repeats: Positive = 6
    """measured steps per plan and round, after a warm-up step."""
