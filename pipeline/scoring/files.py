"""Scores the files of a table: one Parquet file for each, in the order of its rows.

A file is written under another name and renamed when it is complete. Its metadata name the model
and the input, so that a repeated command only scores what is missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline.data.prefetch import in_order
from pipeline.data.prepare.writer import is_disk_full
from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.files import Chunk, SourceFile
from pipeline.data.sources.table import SourceTable, open_table
from pipeline.io.errors import UserError
from pipeline.ranks.allocator import keep_freed_memory
from pipeline.scoring.model import ExportedModel

_METADATA = b"homerec.score"
Progress = Callable[[int, int], None]
"""Told the rows that are done, and all rows."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What was done."""

    files: int
    """Files that were scored."""
    skipped: int
    """Files that were complete before."""
    rows: int
    """Rows that were scored."""


@dataclass(frozen=True, slots=True)
class _Target:
    """An output file."""

    index: int
    path: Path
    mark: bytes
    """Metadata of a complete file."""


def score_files(
    folder: str | Path,
    files: FilesConfig,
    out: Path,
    *,
    keep: Sequence[str] = (),
    threads: int = 0,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> Scored:
    """Score all files into the folder `out`.

    Args:
        folder: the model folder.
        keep: columns of the input to copy.
        threads: threads that score; 0: one per core.
        overwrite: replace files that another model scored.

    Raises:
        UserError: a column is missing, a value is invalid (naming file, row and column), or a file
            in `out` is not of this model. The files that were complete stay.
    """
    threads = threads or len(os.sched_getaffinity(0))
    keep_freed_memory()
    model = ExportedModel.load(folder, threads)
    table = open_table(files)
    inputs = [one.name for one in model.inputs]
    columns = list(dict.fromkeys([*inputs, *keep]))
    table.require(columns)
    names = output_names(model, keep)
    targets = [
        target
        for target in _targets(table.files, out, model, keep)
        if not _is_complete(target, overwrite=overwrite)
    ]
    chunks_of: dict[int, list[Chunk]] = {target.index: [] for target in targets}
    for chunk in table.chunks:
        if chunk.file in chunks_of:
            chunks_of[chunk.file].append(chunk)
    total = sum(chunk.rows for chunks in chunks_of.values() for chunk in chunks)
    todo = [(target, chunk) for target in targets for chunk in chunks_of[target.index]]
    work = (partial(_score, model, table, chunk, columns, keep, names) for _, chunk in todo)
    scored = in_order(work, threads)
    done = 0
    for target in targets:
        chunks = chunks_of[target.index]
        with _writer(target, table, keep, names) as write:
            for chunk in chunks:
                write(next(scored))
                done += chunk.rows
                progress(done, total)
    return Scored(len(targets), len(table.files) - len(targets), done)


def _score(
    model: ExportedModel,
    table: SourceTable,
    chunk: Chunk,
    columns: Sequence[str],
    keep: Sequence[str],
    names: Sequence[str],
) -> pa.Table:
    """Return the output of a chunk. Runs in a thread."""
    torch.set_num_threads(1)  # of this thread: each scores its own chunks
    read = table.read(chunk, columns)
    probabilities = model.score(read, locate=partial(table.locate, chunk))
    values = [*probabilities.T, model.formula(probabilities)]
    arrays = [read[name] for name in keep] + [pa.array(np.ascontiguousarray(v)) for v in values]
    return pa.table(arrays, names=list(names))


@contextmanager
def _writer(
    target: _Target, table: SourceTable, keep: Sequence[str], names: Sequence[str]
) -> Iterator[Callable[[pa.Table], None]]:
    """Write a file under another name, and rename it at the end."""
    kinds = [*(table.types[name] for name in keep), *[pa.float32()] * (len(names) - len(keep))]
    schema = pa.schema(list(zip(names, kinds, strict=True)), metadata={_METADATA: target.mark})
    partial_path = target.path.with_name(f".{target.path.name}.partial")
    target.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with pq.ParquetWriter(partial_path, schema) as writer:
            yield lambda part: writer.write_table(part.cast(schema))
        partial_path.replace(target.path)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise UserError(f"{target.path}: no space left on the disk; free some") from error
    finally:
        partial_path.unlink(missing_ok=True)


def output_names(model: ExportedModel, keep: Sequence[str] = ()) -> list[str]:
    score = "score"
    while score in model.tasks:
        score += "_"
    names = [*keep, *model.tasks, score]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"--keep {name}: the output has a column of this name already; rename it in the "
                "input, or leave it out"
            )
    return names


def _targets(
    files: Sequence[SourceFile], out: Path, model: ExportedModel, keep: Sequence[str]
) -> list[_Target]:
    """Return the output of each file; raises UserError if two files have the same."""
    folders = [file.name.rpartition("/")[0] for file in files]
    common = os.path.commonpath(folders) if all(f.startswith("/") for f in folders) else ""
    found: dict[Path, SourceFile] = {}
    targets = []
    for index, file in enumerate(files):
        name = os.path.relpath(file.name, common) if common else file.name.rpartition("/")[2]
        path = out / (name if name.endswith(".parquet") else f"{name}.parquet")
        if path in found:
            raise UserError(
                f"{file.name}: has the same output as {found[path].name}, {path}; score them apart"
            )
        found[path] = file
        mark = {
            "model": model.manifest.scores_as,
            "input": file.name,
            "bytes": file.size,
            "keep": [*keep],
        }
        targets.append(_Target(index, path, json.dumps(mark, sort_keys=True).encode()))
    return targets


def _is_complete(target: _Target, *, overwrite: bool) -> bool:
    """Whether the file is there. Raises UserError if it is another one."""
    if not target.path.exists():
        return False
    try:
        mark = (pq.read_schema(target.path).metadata or {}).get(_METADATA)
    except (pa.ArrowException, OSError):
        mark = None
    if mark == target.mark:
        return True
    if mark is None:
        raise UserError(
            f"{target.path}: is not a file of 'homerec score'; give another --out, or remove it"
        )
    if not overwrite:
        raise UserError(
            f"{target.path}: was scored with another model, input or --keep; pass --overwrite, or "
            "give another --out"
        )
    return False
