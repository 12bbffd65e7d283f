"""Prepares a table on a Spark cluster, through Spark Connect.

Tasks are runs of chunks, then output files. They run the same functions as one machine does, in
the cluster's Python processes: homerec must be installed there in the same version, and the table
and the prepared folder must be on a file system that all machines share.
"""

from __future__ import annotations

import pickle
import re
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.data.prepare.writer import version
from pipeline.data.schema import SPLITS
from pipeline.data.table.blocks import Blocks
from pipeline.data.table.engine import Progress
from pipeline.data.table.folder import records
from pipeline.data.table.spark_task import Count, Job, Write
from pipeline.data.table.split_writer import GROUPS_PER_FILE, file_name
from pipeline.data.table.table_rows import Table
from pipeline.features.fitted import Fitted
from pipeline.io.errors import UserError

Out = TypeVar("Out")
_TASKS = 256
"""Largest number of tasks of a counting pass; each sends what it has counted."""
_TIMEOUT_S = 10.0
_RETRIES = 5  # 17 seconds
_ADDRESS = re.compile(r"(?:spark|sc)://([^:/@;]+|\[[0-9a-fA-F:]+\])(?::([0-9]{1,5}))?(/.*)?")
_PORT = 15002


class SparkEngine:
    """Implements `Engine`. `address`: spark://HOST:PORT or sc://HOST:PORT of Spark Connect."""

    def __init__(self, address: str) -> None:
        """Raises UserError if there is no server or client, or homerec is not the same there."""
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise UserError(f"--engine {address!r}: write spark://HOST:PORT")
        host, port, rest = found.group(1), int(found.group(2) or _PORT), found.group(3) or ""
        self._address = address
        try:
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise UserError(
                f"--engine {address}: needs the client of Spark Connect: pip install "
                "'homerec[spark]'"
            ) from error
        try:  # The client itself tries for minutes.
            socket.create_connection((host.strip("[]"), port), _TIMEOUT_S).close()
        except OSError as error:
            raise UserError(
                f"--engine {address}: no answer ({error}); start the Spark Connect server, or "
                "correct the address"
            ) from error
        _import_connect()
        self._session = SparkSession.builder.remote(f"sc://{host}:{port}{rest}").create()
        self._retry_for_seconds()
        self._check_version()

    def close(self) -> None:
        """End the session."""
        with _quiet_retries():
            self._session.stop()

    def _retry_for_seconds(self) -> None:
        """A server that is gone has lost the session; by default it is asked for ten minutes."""
        from pyspark.sql.connect.client.retries import DefaultPolicy

        self._session.client.set_retry_policies([DefaultPolicy(max_retries=_RETRIES)])

    def _check_version(self) -> None:
        def find(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            from importlib.metadata import PackageNotFoundError, version

            try:
                found = version("homerec")
            except PackageNotFoundError:
                found = "(not installed)"
            for batch in batches:
                yield pa.record_batch({"version": [found] * len(batch)})

        for found in self._collect(1, find, "version string")["version"].to_pylist():
            if found != version():
                raise UserError(
                    f"--engine {self._address}: homerec {found} is there and {version()} here; "
                    "install the same version on the cluster"
                )

    def over_chunks(
        self,
        table: Table,
        work: Callable[[Table, Sequence[int]], Out],
        what: str,
        progress: Progress,
    ) -> Iterator[Out]:
        """Run tasks of consecutive chunks."""
        num_chunks = len(table.chunks)
        cuts = np.linspace(0, num_chunks, min(num_chunks, _TASKS) + 1).astype(int).tolist()
        runs = [range(start, stop) for start, stop in pairwise(cuts)]
        progress(0, table.rows, what)
        yield from self._run(table, Count(work, runs), len(runs))
        progress(table.rows, table.rows, what)

    def write(
        self,
        table: Table,
        fitted: Fitted,
        folder: Path,
        rows: NDArray[np.int64],
        progress: Progress,
    ) -> list[list[str]]:
        """Run a task for each file, which reads the chunks that it needs."""
        size = table.spec.rows_per_group * GROUPS_PER_FILE
        files = [
            (split, number)
            for split in range(len(SPLITS))
            for number in range(len(Blocks(rows[:, split], size).group_rows))
        ]
        progress(0, table.rows, "encoding")
        self._run(table, Write(folder, rows, files), len(files))
        progress(table.rows, table.rows, "encoding")
        names: list[list[str]] = [[] for _ in SPLITS]
        for split, number in files:
            names[split].append(file_name(SPLITS[split], number))
            if not (folder / names[split][-1]).is_file():
                raise UserError(
                    f"{folder}: the cluster's files are not here; choose an --out on a file "
                    "system that all machines share"
                )
        return names

    def _run(self, table: Table, work: Count | Write, num_tasks: int) -> list[Any]:
        """Return the results of all tasks. Raises the first UserError."""
        spec = table.spec.model_dump_json()
        job = pickle.dumps(Job(spec, records(table.source.files), work))

        def tasks(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            from pipeline.data.table.spark_task import run_task

            for batch in batches:
                for task in batch["id"].to_pylist():
                    yield pa.record_batch(
                        {"task": pa.array([task]), "result": pa.array([run_task(job, task)])}
                    )

        found = self._collect(num_tasks, tasks, "task long, result binary").sort_by("task")
        results = [pickle.loads(one) for one in found["result"].to_pylist()]
        for one in results:
            if isinstance(one, UserError):
                raise one
        assert len(results) == num_tasks
        return results

    def _collect(
        self,
        num_tasks: int,
        function: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
        schema: str,
    ) -> pa.Table:
        from pyspark.errors import PySparkException

        try:
            tasks = self._session.range(0, num_tasks, 1, num_tasks)
            with _quiet_retries():
                return tasks.mapInArrow(function, schema).toArrow()
        except PySparkException as error:
            if "StatusCode.UNAVAILABLE" in str(error):
                found = re.search('details = "(.*)"', str(error))
                details = found[1] if found else "unavailable"
                raise UserError(
                    f"--engine {self._address}: no answer ({details}); "
                    "start the Spark Connect server, or correct the address"
                ) from error
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reasons = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
            reason = (reasons or lines or [type(error).__name__])[-1]
            raise UserError(
                f"--engine {self._address}: a task failed: {reason}; see the log of the cluster"
            ) from error


@contextmanager
def _quiet_retries() -> Iterator[None]:
    """The client warns, besides raising, when it gives up."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\[RETRIES_EXCEEDED\]")
        yield


def _import_connect() -> None:
    """Import the client where the main module has no file, as in `python -c`.

    pyspark takes such a process for one of its doctests, and ends it, unless it is interactive.
    """
    if hasattr(sys, "ps1"):
        return
    sys.ps1 = ""
    try:
        import_module("pyspark.sql.connect")
    finally:
        del sys.ps1
