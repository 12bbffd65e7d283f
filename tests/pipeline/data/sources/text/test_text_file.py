"""A compressed file is decompressed once by a pass over it, also by several threads."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from pipeline.data.sources.files import SourceFile
from pipeline.data.sources.stores import LocalStore
from pipeline.data.sources.text.text_file import TextFile

DATA = bytes(range(256)) * 400
STEP = 1000
STARTS = range(0, len(DATA), STEP)


class Counting(LocalStore):
    """Counts how often a file is opened."""

    def __init__(self) -> None:
        self.opened = 0

    def open(self, path: str) -> pa.NativeFile:
        self.opened += 1
        return super().open(path)


def compressed(folder: Path) -> tuple[TextFile, Counting]:
    path = folder / "a.csv.gz"
    path.write_bytes(gzip.compress(DATA))
    store = Counting()
    return TextFile(SourceFile(str(path), path.stat().st_size, store, str(path))), store


def test_a_pass_in_order_opens_the_file_once(tmp_path: Path) -> None:
    text, store = compressed(tmp_path)
    assert b"".join(text.read(start, min(STEP, len(DATA) - start)) for start in STARTS) == DATA
    assert store.opened == 1
    assert text.read(5, 10) == DATA[5:15]
    assert store.opened == 2


def test_threads_read_what_lies_between_once(tmp_path: Path) -> None:
    text, store = compressed(tmp_path)
    order = [start for pair in zip(STARTS[1::2], STARTS[::2], strict=False) for start in pair]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda start: text.read(start, 400), order))
    assert found == [DATA[start : start + 400] for start in order]
    assert store.opened == 1


def test_blocks_start_anywhere(tmp_path: Path) -> None:
    text, _ = compressed(tmp_path)
    plain = tmp_path / "a.csv"
    plain.write_bytes(DATA)
    file = SourceFile(str(plain), len(DATA), LocalStore(), str(plain))
    for each in (text, TextFile(file), TextFile(replace(file, name="b"))):
        for start in (0, 1, 99_999, len(DATA)):
            assert b"".join(each.blocks(start, 777)) == DATA[start:]
