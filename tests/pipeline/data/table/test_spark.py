"""A table prepared on a Spark Connect server, which is a process of its own, is the same folder."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import polars as pl
import pytest

from launchers.cli.main import main
from pipeline.data.table import spark
from pipeline.data.table.prepare import prepare_table
from pipeline.data.table.spark import SparkEngine
from pipeline.data.table.spec import TableSpec
from pipeline.io.errors import UserError
from tests.pipeline.data.table.tables import silent, spec, table
from tests.pipeline.data.table.test_equal_batches import digests, write

pytestmark = pytest.mark.usefixtures("small_chunks")

_SERVER = """
import sys
from pipeline.data.sources import merge_chunks
from pysail.spark import SparkConnectServer
merge_chunks.MAX_ROWS = 150
server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
print(server.listening_address[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of Spark Connect, and its address."""
    pytest.importorskip("pysail", reason="pysail is not installed: pip install pysail")
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        yield process, f"spark://127.0.0.1:{port}"
        process.stdin.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[SparkEngine]:
    with server() as (_, address):
        engine = SparkEngine(address)
        yield engine
        engine.close()


def assert_same(engine: SparkEngine, given: TableSpec, folder: Path) -> None:
    prepare_table(given, folder / "here", progress=silent)
    prepare_table(given, folder / "there", engine=engine, progress=silent)
    here, there = digests(folder / "here"), digests(folder / "there")
    assert here == there
    for name in ("table.json", "chunks.parquet"):
        assert (folder / "here" / name).read_bytes() == (folder / "there" / name).read_bytes()


def test_parquet_in_several_files(engine: SparkEngine, tmp_path: Path) -> None:
    # 64 row groups make a file.
    paths = write(table(1500), tmp_path, [700, 701])
    assert_same(engine, spec(paths, rows_per_group=16), tmp_path)
    assert len(list((tmp_path / "there" / "train").iterdir())) > 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_text_with_a_random_split(engine: SparkEngine, tmp_path: Path, suffix: str) -> None:
    frame = table(1500).drop("tags", "weights")
    path = tmp_path / f"log.{suffix}"
    (frame.write_csv if suffix == "csv" else frame.write_ndjson)(path)
    features = {
        name: one.model_dump(mode="json")
        for name, one in spec(path).features.items()
        if "tags" not in one.columns(name)
    }
    split = {"by": "random", "val": 0.2, "test": 0.0, "seed": 3}
    assert_same(engine, spec(path, split=split, features=features), tmp_path)


def bad_table(folder: Path) -> Path:
    frame = table(500).with_columns(
        click=pl.when(pl.int_range(pl.len()).is_in([77, 400])).then(5).otherwise("click")
    )
    frame.write_parquet(folder / "log.parquet", row_group_size=50)
    return folder / "log.parquet"


def test_bad_rows_that_are_skipped(engine: SparkEngine, tmp_path: Path) -> None:
    assert_same(engine, spec(bad_table(tmp_path), on_bad_row="skip"), tmp_path)


def test_the_first_bad_value_is_named(engine: SparkEngine, tmp_path: Path) -> None:
    given = spec(bad_table(tmp_path))
    lines = []
    for where in (None, engine):
        with pytest.raises(UserError) as error:
            prepare_table(given, tmp_path / "data", engine=where, progress=silent)
        lines.append(str(error.value))
    assert lines[0] == lines[1]
    assert "row 77 (from 0)" in lines[0]
    assert not (tmp_path / "data").exists()


def test_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad_table(tmp_path)
    given = spec(tmp_path / "log.parquet").model_dump_json(include={"features"})
    config = tmp_path / "run.yaml"
    config.write_text(
        f'{{"data": {{"path": "{tmp_path}/out", "source": {{"path": "{tmp_path}/log.parquet"}}, '
        f'"labels": {{"click": {{}}}}}}, {given[1:]}',
        encoding="utf-8",
    )
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"sc://127.0.0.1:{closed.getsockname()[1]}"
        code = main(["prepare", "table", "--config", str(config), "--engine", address])
    assert code == 2
    line = capsys.readouterr().err
    assert "no answer" in line
    assert not (tmp_path / "out").exists()


def test_a_server_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "_RETRIES", 1)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        thread = threading.Thread(target=other.serve_forever, daemon=True)
        thread.start()
        with pytest.raises(UserError, match=r"no answer \(.*\); start the Spark Connect server"):
            SparkEngine(f"spark://127.0.0.1:{other.server_port}")
        other.shutdown()
        thread.join()


def test_a_server_that_dies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spark, "_RETRIES", 1)
    with server() as (process, address):
        engine = SparkEngine(address)
        process.kill()
        process.wait()
        with pytest.raises(UserError, match=r"no answer \(.*\); start the Spark Connect server"):
            prepare_table(
                spec(bad_table(tmp_path)), tmp_path / "data", engine=engine, progress=silent
            )
        engine.close()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("address", ["yarn", "spark://", "http://127.0.0.1:15002"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UserError, match="spark://HOST:PORT"):
        SparkEngine(address)
