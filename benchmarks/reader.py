"""Rows per second of one rank's reader, without a model.

    python -m benchmarks.reader PREPARED_FOLDER [--batch-size 2048] [--workers 0 1 2]

Prints, for each number of workers, the best epoch of several, by the clock and by CPU time (which
other processes on the machine disturb less); and, by turns with it, Arrow's own reading
(decompression, decoding) of the same row groups, the part of it that is not ours, and the reader's
share of that rate.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from pipeline.data.batch import Batch
from pipeline.data.columns import Columns
from pipeline.data.parquet_source import ParquetSource, open_batches
from pipeline.data.schema import Schema
from pipeline.data.split_files import ParquetShards
from pipeline.ranks.allocator import keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", default="train", choices=("train", "val", "test"))
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shuffle-row-groups", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    keep_freed_memory()  # as training does
    schema = Schema.load(args.folder)

    def source(num_workers: int) -> ParquetSource:
        return open_batches(
            args.folder,
            schema,
            args.split,
            features=schema.sparse,
            tasks=schema.labels,
            hash_rows=hash_rows,
            batch_size=args.batch_size,
            rank=0,
            world_size=1,
            shuffle=True,
            seed=0,
            num_workers=num_workers,
            shuffle_row_groups=args.shuffle_row_groups,
        )

    hash_rows = {table.name: 1000 for table in schema.tables}
    multi = sum(feature.multi for feature in schema.sparse)
    _say(
        f"{len(schema.sparse)} sparse features ({multi} multi-valued), {len(schema.dense)} dense, "
        f"{len(schema.labels)} labels, batch {args.batch_size}"
    )
    columns = Columns(
        schema,
        features=schema.sparse,
        tasks=schema.labels,
        hash_rows=hash_rows,
        with_oracle=False,
    )
    shards = ParquetShards(args.folder, schema, args.split, columns.types)
    readers = {num_workers: source(num_workers) for num_workers in args.workers}
    times: dict[int, list[Times]] = {num_workers: [] for num_workers in args.workers}
    arrow: list[Times] = []
    for _ in range(args.epochs):  # by turns: other work on the machine falls on all alike
        arrow.append(_arrow(shards, args.shuffle_row_groups))
        for num_workers, reader in readers.items():
            times[num_workers].append(_epoch(reader))
    per_cpu_second = {}
    for num_workers, reader in readers.items():
        rows = reader.steps_per_epoch * args.batch_size
        per_cpu_second[num_workers] = rows / min(cpu for _, cpu in times[num_workers])
        _say(f"{num_workers} workers: {_rates(rows, times[num_workers])} ({rows:,} rows)")
    size = np.mean([_bytes(batch) for batch in source(0)])
    _say(f"a batch: {size / 1e6:.2f} MB, {size / args.batch_size:.0f} bytes a row")
    rows = sum(shards.group_rows)
    groups = np.arange(len(shards.group_rows))[: args.shuffle_row_groups]
    _say(
        f"Arrow alone: {_rates(rows, arrow)}; a window of {len(groups)} row groups is "
        f"{shards.read(groups).nbytes / 1e6:.0f} MB"
    )
    alone = rows / min(cpu for _, cpu in arrow)
    shares = (f"{rate / alone:.0%} ({n} workers)" for n, rate in per_cpu_second.items())
    _say(f"rows per CPU second, of Arrow's: {', '.join(shares)}")


Times = tuple[float, float]
"""Seconds by the clock, and of CPU time in all threads."""


def _epoch(reader: ParquetSource) -> Times:
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in reader:
        pass
    return time.perf_counter() - clock, time.process_time() - cpu


def _arrow(shards: ParquetShards, window: int) -> Times:
    """Read every row group once, `window` of them at a time."""
    groups = np.arange(len(shards.group_rows))
    clock, cpu = time.perf_counter(), time.process_time()
    for first in range(0, len(groups), window):
        shards.read(groups[first : first + window])
    return time.perf_counter() - clock, time.process_time() - cpu


def _rates(rows: int, times: list[Times]) -> str:
    clock, cpu = (min(column) for column in zip(*times, strict=True))
    return f"{rows / clock:,.0f} rows/s, {rows / cpu:,.0f} rows per CPU second"


def _bytes(batch: Batch) -> int:
    return sum(
        tensor.nbytes
        for tensor in (
            batch.dense,
            batch.sparse.values(),
            batch.sparse.lengths(),
            batch.labels,
            batch.weights,
            batch.users,
        )
    )


def _say(line: str) -> None:
    print(line)  # noqa: T201


if __name__ == "__main__":
    main()
