"""A prepared folder's split as batches: shuffled, sharded over ranks, resumable, read ahead.

    source = open_batches(folder, schema, "train", ..., rank=rank, world_size=world_size)
    for batch in source:          # one epoch; the next loop is the next epoch
        ...

Shuffling is by windows: `shuffle_row_groups` row groups, drawn from the whole split, are decoded
at once and their rows mixed. So memory is bounded by `num_workers` + 1 windows of row groups (8
bytes an id, 4 a number, and as much again where one is being decoded), however large the split.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, fields, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline.data.batch import Batch
from pipeline.data.columns import Columns
from pipeline.data.ordering import Deal, EpochOrder, Piece
from pipeline.data.rank_slice import Share, shares
from pipeline.data.rows import Rows
from pipeline.data.schema import SPLIT, Label, Schema, SparseFeature
from pipeline.data.split_files import Shards
from pipeline.io.errors import UserError

Out = TypeVar("Out")


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
) -> BatchSource:
    """Open `split` of the prepared `folder`. Reads footers, no rows.

    Args:
        features: the keys of `Batch.sparse`, in this order.
        tasks: the columns of `Batch.labels`, in this order.
        hash_rows: for each of the features' tables, its rows behind the vocabulary.
        batch_size: rows a rank and batch.
        shuffle: training: another order every epoch, and the rows that do not fill a batch on
            every rank are left out. Else evaluation: file order, every row once, padded.
        num_workers: threads that decode ahead; 0 decodes in line. Batches do not depend on it.
        shuffle_row_groups: row groups whose rows are mixed; more cost memory.
        events: groups of multi-valued features that must have equally many values in each row.

    Raises:
        UserError: the split is empty, or too small for one batch on every rank; a file is missing,
            damaged, or not what the schema says. Later, while reading: a value is at fault.
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
    shards = Shards(folder, schema, split, columns.types)
    # A window wider than a rank's share would make every rank decode other ranks' rows.
    window = max(1, min(shuffle_row_groups, len(shards.group_rows) // world_size))
    rows = sum(shards.group_rows)
    deal = Deal(
        epoch=0,
        seed=seed,
        window=window if shuffle else 0,
        ranges=((0, rows),),
        first_step=0,
        batch_size=batch_size,
        world_size=world_size,
        drop_last=shuffle,
    )
    if deal.num_steps == 0:
        raise UserError(
            f"{folder}: split {split!r} has {rows} rows, fewer than one global batch of "
            f"{batch_size * world_size} ({world_size} ranks x {batch_size}); "
            "take a smaller batch size or fewer ranks"
        )
    return BatchSource(shards, columns, deal, rank=rank, ranks=world_size, num_workers=num_workers)


class BatchSource:
    """The batches of one rank, epoch after epoch.

    Iterating yields what is left of the epoch under way, or else the next epoch. So
    `itertools.islice(source, n)` takes n batches, and the next iteration goes on behind them.
    A batch counts as consumed once it has been handed out, however far workers have read ahead.
    """

    def __init__(
        self,
        shards: Shards,
        columns: Columns,
        deal: Deal,
        *,
        rank: int,
        ranks: int,
        num_workers: int,
    ) -> None:
        self._shards = shards
        self._columns = columns
        self._fresh = deal
        self._rank = rank
        self._ranks = ranks
        self._num_workers = num_workers
        self._begin(deal, 0)

    def _begin(self, deal: Deal, step: int) -> None:
        self._deal = deal
        self._step = step
        self._order = EpochOrder(
            self._shards.group_rows, epoch=deal.epoch, seed=deal.seed, window=deal.window
        )

    @property
    def epoch(self) -> int:
        return self._deal.epoch

    @property
    def step(self) -> int:
        """Batches of this epoch handed out so far."""
        return self._step

    @property
    def steps_per_epoch(self) -> int:
        """Batches of a whole epoch: the same on every rank, known without communication."""
        return self._fresh.num_steps

    @property
    def steps_left(self) -> int:
        """Batches of the epoch under way still to come."""
        return self._deal.num_steps - self._step

    def state_dict(self) -> dict[str, Any]:
        """The position, as plain numbers and lists. The same on every rank."""
        return {
            **asdict(self._deal),
            "ranges": [list(part) for part in self._deal.ranges],
            "step": self._step,
            "rows": sum(self._shards.group_rows),
            "row_groups": len(self._shards.group_rows),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; reads nothing.

        The epoch under way keeps the seed and shuffling it began with. With another number of
        ranks each step has the rows it would have had, as long as it is as large: to train on the
        same batches in the same order is what makes the run end as if nothing had happened. If the
        global batch has changed, rows that no rank has been handed are dealt anew.
        """
        found = (sum(self._shards.group_rows), len(self._shards.group_rows))
        for key in self.state_dict():
            if key not in state:
                raise UserError(
                    f"the checkpoint's position lacks {key!r}: its meta.json is damaged; remove "
                    "that checkpoint to go on from the one before"
                )
        if (state["rows"], state["row_groups"]) != found:
            raise UserError(
                f"{self._shards.folder}: the checkpoint's position is in a split of "
                f"{state['rows']} rows in {state['row_groups']} row groups, this one has "
                f"{found[0]} in {found[1]}; resume with the folder the run began with"
            )
        deal = Deal(
            **{field.name: state[field.name] for field in fields(Deal) if field.name != "ranges"},
            ranges=tuple((start, stop) for start, stop in state["ranges"]),
        )
        assert deal.drop_last == self._fresh.drop_last, "a position of training is not one of eval"
        step = state["step"]
        fresh = self._fresh
        if deal.batch_size * deal.world_size == fresh.batch_size * fresh.world_size:
            self._fresh = replace(
                fresh, batch_size=deal.batch_size, world_size=deal.world_size, window=deal.window
            )
        else:
            deal = deal.again(step, fresh.batch_size, fresh.world_size)
        self._begin(deal, step)

    def _shares(self) -> list[Share]:
        deal = self._deal
        return shares(self._rank, self._ranks, deal.world_size, deal.batch_size)

    def describe(self, step: int) -> str:
        """Where this rank's batch `step` of the epoch comes from, for error messages."""
        name = f"epoch {self._deal.epoch}, batch {step}"
        if not self._deal.first_step <= step < self._deal.num_steps:
            return name  # from before the rows were dealt anew, or beyond the end
        pieces = [
            piece
            for share in self._shares()
            for piece in self._order.pieces(*self._deal.steps(share.dealt_to, step, step + 1))
        ]
        groups = np.concatenate([self._order.windows[piece.window] for piece in pieces])
        return f"{name}: {self._shards.describe(np.unique(groups))}"

    def __iter__(self) -> Iterator[Batch]:
        if self._step == self._deal.num_steps:
            self._begin(replace(self._fresh, epoch=self._deal.epoch + 1), 0)
        deal, step = self._deal, self._step
        mine = self._shares()
        with ExitStack() as stack:
            streams = [
                stack.enter_context(closing(self._steps_of(share.dealt_to, step))) for share in mine
            ]
            for parts in zip(*streams, strict=True):
                taken = [
                    rows.between(share.start, share.stop)
                    for rows, share in zip(parts, mine, strict=True)
                ]
                columns = self._columns
                batch = Rows.join(taken).batch(columns.keys, columns.multi, columns.id_dtype)
                assert self._deal is deal, "another iterator of this source has begun an epoch"
                assert self._step == step, "another iterator of this source has moved on"
                step += 1
                self._step = step
                yield batch

    def _steps_of(self, dealt_to: int, step: int) -> Generator[Rows]:
        """The rows of each step from `step` on that were dealt to rank `dealt_to`."""
        deal = self._deal
        pieces = self._order.pieces(*deal.steps(dealt_to, step, deal.num_steps))
        parts: list[Rows] = []
        with closing(_in_order(self._reads(pieces), self._num_workers)) as windows:
            for rows in chain.from_iterable(windows):
                parts.append(rows)
                if sum(map(len, parts)) == deal.batch_size:
                    yield Rows.join(parts)
                    parts.clear()

    def _reads(self, pieces: list[Piece]) -> Iterator[Callable[[], list[Rows]]]:
        at = 0
        for piece in pieces:
            end = at + piece.stop - piece.start + piece.padding
            borders = range(at - at % self._deal.batch_size, end, self._deal.batch_size)
            yield partial(self._read, self._order, piece, [at, *borders[1:], end])
            at = end

    def _read(self, order: EpochOrder, piece: Piece, borders: list[int]) -> list[Rows]:
        """The rows of `piece`, cut at `borders`: those of batches, counted along all pieces."""
        groups = order.windows[piece.window]
        rows = order.rows(piece.window)
        taken = rows[piece.start : piece.stop]
        weights = np.ones(len(taken) + piece.padding, dtype=np.float32)
        weights[len(taken) :] = 0
        decoded = self._columns.decode(
            self._shards.read(groups),
            np.concatenate([taken, np.full(piece.padding, rows[piece.filler])]),
            weights,
            partial(self._shards.locate, groups),
        )
        return decoded.split(np.diff(borders).tolist())


def _in_order(tasks: Iterable[Callable[[], Out]], num_workers: int) -> Generator[Out]:
    """Results of `tasks` in their order, at most `num_workers` of them worked out ahead by threads.

    An exception of a task is raised in its place. Closing the iterator ends the threads.
    """
    if num_workers == 0:
        for task in tasks:
            yield task()
        return
    with ThreadPoolExecutor(num_workers, thread_name_prefix="reader") as pool:
        pending: deque[Future[Out]] = deque()
        try:
            for task in tasks:
                pending.append(pool.submit(task))
                if len(pending) > num_workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
