"""Reads a split of a prepared folder as batches: shuffled, sharded over ranks, resumable.

    source = open_batches(folder, schema, "train", ..., rank=rank, world_size=world_size)
    for batch in source:          # one epoch; the next loop is the next epoch
        ...

A shuffle buffer contains the rows of `shuffle_row_groups` row groups from the whole split. Memory
is bounded by `num_workers` + 1 buffers (4 bytes per id and number, 8 per id while decoding),
regardless of the size of the split.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, fields, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.batch import Batch
from pipeline.data.check_values import check_values
from pipeline.data.columns import Columns
from pipeline.data.ordering import EpochPermutation, Position, ReadSpan, ShardPlan
from pipeline.data.prefetch import in_order
from pipeline.data.rank_slice import RankSlice, rank_slices
from pipeline.data.rows import Rows
from pipeline.data.schema import SPLIT, Label, Schema, SparseFeature
from pipeline.data.shards import Shards, open_shards
from pipeline.io.errors import UserError
from pipeline.io.typed_json import check_typed


def open_batches(
    folder: Path,
    schema: Schema,
    split: SPLIT,
    *,
    features: Sequence[SparseFeature],
    tasks: Sequence[Label],
    hash_rows: Mapping[str, int],
    batch_size: int,
    rank: int,
    world_size: int,
    shuffle: bool,
    seed: int,
    num_workers: int = 1,
    shuffle_row_groups: int = 16,
    with_oracle: bool = False,
    events: Sequence[Sequence[str]] = (),
) -> ParquetSource:
    """Open `split` of the prepared `folder`. Reads footers, no rows.

    Args:
        features: keys of `Batch.sparse`, in this order.
        tasks: columns of `Batch.labels`, in this order.
        hash_rows: for each table, the number of rows after the vocabulary.
        batch_size: rows per rank and batch.
        shuffle: for training: another order in every epoch, dropping rows that do not fill a batch
            on every rank. If false, for evaluation: file order, every row once, padded.
        num_workers: threads that decode ahead; 0: decode in the calling thread. Batches do not
            depend on it.
        shuffle_row_groups: number of row groups per shuffle buffer; more need more memory.
        events: groups of multi-valued features that must have equal numbers of values in each row.

    Raises:
        UserError: the split is empty, or too small for one batch on every rank; a file is missing,
            damaged, or does not match the schema. Later, while reading: a value is invalid.
    """
    assert 0 <= rank < world_size
    assert min(batch_size, shuffle_row_groups) >= 1
    assert min(seed, num_workers) >= 0
    columns = Columns(
        schema,
        features=features,
        tasks=tasks,
        hash_rows=hash_rows,
        with_oracle=with_oracle,
        events=events,
    )
    shards = open_shards(folder, schema, split, columns.types)
    # A buffer larger than a rank's part would make every rank decode other ranks' rows.
    buffer_row_groups = max(1, min(shuffle_row_groups, len(shards.group_rows) // world_size))
    rows = sum(shards.group_rows)
    plan = ShardPlan(
        epoch=0,
        seed=seed,
        buffer_row_groups=buffer_row_groups if shuffle else 0,
        ranges=((0, rows),),
        first_step=0,
        batch_size=batch_size,
        world_size=world_size,
        drop_last=shuffle,
    )
    if plan.num_steps == 0:
        raise UserError(
            f"{folder}: split {split!r} has {rows} rows, fewer than one global batch of "
            f"{batch_size * world_size} ({world_size} ranks x {batch_size}); "
            "use a smaller batch size or fewer ranks"
        )
    return ParquetSource(
        shards, columns, plan, rank=rank, ranks=world_size, num_workers=num_workers
    )


class ParquetSource:
    """Batches of one rank, epoch by epoch.

    Iterating yields the rest of the current epoch, or else the next epoch. Thus
    `itertools.islice(source, n)` takes n batches, and the next iteration continues after them. A
    batch counts as consumed once it has been yielded, regardless of read-ahead.
    """

    def __init__(
        self,
        shards: Shards,
        columns: Columns,
        plan: ShardPlan,
        *,
        rank: int,
        ranks: int,
        num_workers: int,
    ) -> None:
        self._shards = shards
        self._columns = columns
        self._fresh = plan
        self._rank = rank
        self._ranks = ranks
        self._num_workers = num_workers
        self._begin(plan, 0)

    def _begin(self, plan: ShardPlan, step: int) -> None:
        self._plan = plan
        self._step = step
        self._order = EpochPermutation(
            self._shards.group_rows,
            epoch=plan.epoch,
            seed=plan.seed,
            buffer_row_groups=plan.buffer_row_groups,
        )

    def check_values(self) -> float:
        """Quick checks of values; returns the share of row groups checked completely."""
        return check_values(self._shards, self._columns, rank=self._rank, world_size=self._ranks)

    @property
    def epoch(self) -> int:
        return self._plan.epoch

    @property
    def step(self) -> int:
        """Batches of this epoch yielded so far."""
        return self._step

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, equal on every rank without communication."""
        return self._fresh.num_steps

    @property
    def steps_left(self) -> int:
        """Batches left in the current epoch."""
        return self._plan.num_steps - self._step

    def state_dict(self) -> dict[str, Any]:
        """Return the position as numbers and lists, equal on every rank."""
        return {
            **asdict(self._plan),
            "ranges": [list(part) for part in self._plan.ranges],
            "step": self._step,
            "rows": sum(self._shards.group_rows),
            "row_groups": len(self._shards.group_rows),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`; reads nothing.

        The current epoch keeps its seed and shuffling. With another number of ranks but the same
        global batch size, each step keeps its rows, as in an uninterrupted run. If the global batch
        size has changed, the remaining rows are split over the ranks again.
        """
        found = (sum(self._shards.group_rows), len(self._shards.group_rows))
        if "follow" in state:
            raise UserError("the run to resume follows a log; resume it with --follow")
        try:
            state = check_typed(dict(state), Position)
        except ValueError as error:
            raise UserError(
                f"the checkpoint's position is not one: {error}; its meta.json is damaged or of "
                "another version: remove that checkpoint to resume from the previous one"
            ) from error
        if (state["rows"], state["row_groups"]) != found:
            raise UserError(
                f"{self._shards.folder}: the checkpoint's position is in a split of "
                f"{state['rows']} rows in {state['row_groups']} row groups, this one has "
                f"{found[0]} in {found[1]}; resume with the original data folder"
            )
        plan = ShardPlan(
            **{
                field.name: state[field.name]
                for field in fields(ShardPlan)
                if field.name != "ranges"
            },
            ranges=tuple((start, stop) for start, stop in state["ranges"]),
        )
        step = state["step"]
        if not plan.is_within(found[0], step) or plan.drop_last != self._fresh.drop_last:
            raise UserError(
                f"{self._shards.folder}: the checkpoint's position, step {step} of a pass, is not "
                "in this split; remove that checkpoint to resume from the previous one"
            )
        fresh = self._fresh
        if plan.batch_size * plan.world_size == fresh.batch_size * fresh.world_size:
            self._fresh = replace(
                fresh,
                batch_size=plan.batch_size,
                world_size=plan.world_size,
                buffer_row_groups=plan.buffer_row_groups,
            )
        else:
            plan = plan.reshard(step, fresh.batch_size, fresh.world_size)
        self._begin(plan, step)

    def _rank_slices(self) -> list[RankSlice]:
        plan = self._plan
        return rank_slices(self._rank, self._ranks, plan.world_size, plan.batch_size)

    def describe(self, ago: int) -> str:
        """Describe the origin of this rank's batch `ago` batches ago, for error messages."""
        step = self._step - ago
        name = f"epoch {self._plan.epoch}, batch {step}"
        if not self._plan.first_step <= step < self._plan.num_steps:
            return name  # from before the last split of rows, or beyond the end
        spans = [
            span
            for part in self._rank_slices()
            for span in self._order.spans(*self._plan.steps(part.planned_rank, step, step + 1))
        ]
        groups = np.concatenate([self._order.buffers[span.buffer] for span in spans])
        return f"{name}: {self._shards.describe(np.unique(groups))}"

    def __iter__(self) -> Iterator[Batch]:
        if self._step == self._plan.num_steps:
            self._begin(replace(self._fresh, epoch=self._plan.epoch + 1), 0)
        plan, step = self._plan, self._step
        mine = self._rank_slices()
        with ExitStack() as stack:
            iterators = [
                stack.enter_context(closing(self._steps_of(part.planned_rank, step)))
                for part in mine
            ]
            for parts in zip(*iterators, strict=True):
                taken = [
                    rows.between(part.start, part.stop)
                    for rows, part in zip(parts, mine, strict=True)
                ]
                batch = Rows.join(taken).batch(self._columns.keys, self._columns.multi)
                assert self._plan is plan, "another iterator of this source has begun an epoch"
                assert self._step == step, "another iterator of this source has moved on"
                step += 1
                self._step = step
                yield batch

    def _steps_of(self, planned_rank: int, step: int) -> Generator[Rows]:
        """Yield the rows of rank `planned_rank` of the plan, for each step from `step` on."""
        plan = self._plan
        spans = self._order.spans(*plan.steps(planned_rank, step, plan.num_steps))
        parts: list[Rows] = []
        with closing(in_order(self._reads(spans), self._num_workers)) as buffers:
            for rows in chain.from_iterable(buffers):
                parts.append(rows)
                if sum(map(len, parts)) == plan.batch_size:
                    yield Rows.join(parts)
                    parts.clear()

    def _reads(self, spans: list[ReadSpan]) -> Iterator[Callable[[], list[Rows]]]:
        at = 0
        for span in spans:
            end = at + span.stop - span.start + span.padding
            borders = range(at - at % self._plan.batch_size, end, self._plan.batch_size)
            yield partial(self._read, self._order, span, [at, *borders[1:], end])
            at = end

    def _read(self, order: EpochPermutation, span: ReadSpan, borders: list[int]) -> list[Rows]:
        """Yield the rows of `span`, split at `borders` of batches, counted along all spans."""
        groups = order.buffers[span.buffer]
        rows = order.rows(span.buffer)
        taken = rows[span.start : span.stop]
        weights = np.ones(len(taken) + span.padding, dtype=np.float32)
        weights[len(taken) :] = 0
        decoded = self._columns.decode(
            self._shards.read(groups),
            np.concatenate([taken, np.full(span.padding, rows[span.pad_row])]),
            weights,
            partial(self._shards.locate, groups),
        )
        return decoded.split(np.diff(borders).tolist())
