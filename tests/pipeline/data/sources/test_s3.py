"""Tables at s3:// are read from a server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import opened, read_all

TABLE = pa.table({"user": pa.array(range(20), pa.int64()), "x": pa.array([0.5] * 20)})


@pytest.fixture(scope="module")
def store() -> Iterator[pa.fs.S3FileSystem]:
    """A bucket 'logs' with a Hive-partitioned folder, some CSV files and other objects."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        system = pa.fs.S3FileSystem(
            endpoint_override=f"http://{host}:{port}", allow_bucket_creation=True
        )
        system.create_dir("logs")
        for day in (1, 2):
            part = TABLE.slice(10 * day - 10, 10)
            path = f"logs/a b/day=2026-05-0{day}/x.parquet"
            with system.open_output_stream(path) as file:
                pq.write_table(part, file, row_group_size=4)
            with system.open_output_stream(f"logs/csv/{day}.csv.gz", compression="gzip") as file:
                pa.csv.write_csv(part, file)
        for name in ("logs/a b/_SUCCESS", "logs/a b/_delta_log.txt"):
            with system.open_output_stream(name) as file:
                file.write(b"{}")
        yield system
        server.stop()


@pytest.mark.parametrize("path", ["a b", "a b/", "a b/day=*", "a b/*/x.parquet", "**/*.parquet"])
def test_parquet(store: pa.fs.S3FileSystem, path: str) -> None:
    source = opened(f"s3://logs/{path}")
    assert [file.name for file in source.files] == [
        f"s3://logs/a b/day=2026-05-0{day}/x.parquet" for day in (1, 2)
    ]
    assert [file.size for file in source.files] == [
        store.get_file_info(file.name.removeprefix("s3://")).size for file in source.files
    ]
    assert read_all(source, ["user", "x"]) == TABLE
    assert set(read_all(source, ["day"])["day"].to_pylist()) == {"2026-05-01", "2026-05-02"}
    chunk = source.chunks[-1]
    assert source.locate(chunk, 1) == f"{source.files[1].name}: row 9 (from 0)"


def test_compressed_text(store: pa.fs.S3FileSystem) -> None:
    source = opened("s3://logs/csv/*.csv.gz")
    assert read_all(source)["user"].to_pylist() == [str(number) for number in range(20)]


def test_what_is_missing(store: pa.fs.S3FileSystem) -> None:
    with pytest.raises(UserError, match="s3://logs/none: no such file or folder; check the path"):
        opened("s3://logs/none")
    with pytest.raises(UserError, match=r"s3://logs/\*\.json: no file matches; check the path"):
        opened("s3://logs/*.json")
    with pytest.raises(UserError, match=r"s3://none/\*: (cannot be listed|no file matches)"):
        opened("s3://none/*")


def test_a_delta_table(store: pa.fs.S3FileSystem, tmp_path: Path) -> None:
    deltalake.write_deltalake(tmp_path, TABLE, partition_by=["x"])
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        with store.open_output_stream(f"logs/delta/{path.relative_to(tmp_path)}") as file:
            file.write(path.read_bytes())
    source = opened("s3://logs/delta")
    assert read_all(source, TABLE.column_names).sort_by("user") == TABLE
    assert source.files[0].name.startswith("s3://logs/delta/x=0.5/part-")
