"""Writes a table of made-up rows to measure preparation with: 18 columns, Parquet.

    python -m benchmarks.made_up_table FOLDER [--rows 5000000] [--files 1]
    homerec init FOLDER --labels click,like,follow --user user_id --time ts --out run.yaml
    homerec bench input --config run.yaml

Three columns of integer ids (a million values each), three of integer categories, three of text,
four of floats, two of times and three labels. Ids, categories and text follow Zipf's law. Rows have
no meaning, so there is nothing to be learnt. `--rows-per-group 10000` writes small row groups.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

_START_MS = 1_775_000_000_000
_DAYS_MS = 30 * 86_400_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows of all files")
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--rows-per-group", type=int, default=2**20, help="of the row groups")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for file in range(args.files):
        rows = args.rows // args.files
        when = _START_MS + _DAYS_MS * file // args.files
        times = when + np.arange(rows) * (_DAYS_MS // args.rows)
        table = made_up(np.random.default_rng(file), times)
        path = args.folder / f"part-{file:03}.parquet"
        pq.write_table(table, path, row_group_size=args.rows_per_group)


def made_up(rng: np.random.Generator, times: NDArray[np.int64]) -> pa.Table:
    """Return a row for each of `times`, in milliseconds since 1970."""
    rows = len(times)

    def zipf(size: int) -> NDArray[np.int64]:
        rank = np.exp(rng.random(rows, dtype=np.float32) * np.log(size + 1)).astype(np.int64) - 1
        return rank.clip(max=size - 1) * 7_368_787 % size

    def text(name: str, size: int) -> pa.Array:
        words = pa.array([f"{name} {index}" for index in range(size)])
        return words.take(pa.array(zipf(size)))

    def label(share: float) -> NDArray[np.int8]:
        return (rng.random(rows, dtype=np.float32) < share).astype(np.int8)

    price = np.exp(3 + rng.standard_normal(rows, dtype=np.float32)).round(2)
    return pa.table(
        {
            "user_id": zipf(1_000_000),
            "item_id": zipf(1_000_000) + 10_000_000,
            "author_id": zipf(1_000_000) * 1_000_003,
            "category": zipf(400).astype(np.int32),
            "tab": zipf(15).astype(np.int32),
            "age_group": rng.integers(0, 8, rows, dtype=np.int8),
            "country": text("country", 200),
            "app": text("app", 4),
            "query": text("query", 2000),
            "price": pa.array(price, mask=rng.random(rows, dtype=np.float32) < 0.03),
            "ctr": rng.random(rows, dtype=np.float32).astype(np.float64) ** 3,
            "duration": rng.standard_exponential(rows, dtype=np.float32) * np.float32(30),
            "score": rng.standard_normal(rows, dtype=np.float32).astype(np.float64),
            "ts": pa.array(times, pa.timestamp("ms")),
            "published": pa.array(times - rng.integers(0, _DAYS_MS, rows), pa.timestamp("ms")),
            "click": label(0.2),
            "like": label(0.02),
            "follow": label(0.005),
        }
    )


if __name__ == "__main__":
    main()
