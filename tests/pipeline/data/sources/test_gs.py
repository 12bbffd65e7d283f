"""Tables at gs:// are read from a server on this machine."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from launchers.local.free_port import free_port
from pipeline.io.errors import UserError
from tests.pipeline.data.sources.tables import opened, read_all

TABLE = pa.table({"user": pa.array(range(20), pa.int64()), "x": pa.array([0.5] * 20)})


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Options of the addresses of bucket 'logs', which has a Hive-partitioned folder."""
    host = f"127.0.0.1:{free_port()}"
    # A process of its own: pyarrow's client holds the GIL while it closes a file.
    words = ["start", "--host=127.0.0.1", f"--port={host[10:]}", "--default-bucket=logs"]
    command = [sys.executable, "-m", "gcp_storage_emulator", *words, "--in-memory"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(f"http://{host}/", server)
            file = tmp_path_factory.mktemp("gs") / "part.parquet"
            for day in (1, 2):
                pq.write_table(TABLE.slice(10 * day - 10, 10), file, row_group_size=4)
                name = urllib.parse.quote(f"a b/day=2026-05-0{day}/x.parquet", safe="")
                address = f"http://{host}/upload/storage/v1/b/logs/o?uploadType=media&name={name}"
                with urllib.request.urlopen(urllib.request.Request(address, file.read_bytes())):
                    pass
            yield f"?scheme=http&endpoint_override={host}&retry_limit_seconds=1"
        finally:
            server.kill()


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None
        try:
            urllib.request.urlopen(address).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(address)


@pytest.mark.parametrize("path", ["a b", "a b/", "a b/day=*", "**/*.parquet", ""])
def test_parquet(options: str, path: str) -> None:
    source = opened(f"gs://anonymous@logs/{path}{options}")
    assert [Path(file.name).parent.name for file in source.files] == [
        "day=2026-05-01",
        "day=2026-05-02",
    ]
    assert read_all(source, ["user", "x"]) == TABLE
    assert set(read_all(source, ["day"])["day"].to_pylist()) == {"2026-05-01", "2026-05-02"}


def test_what_is_missing(options: str) -> None:
    with pytest.raises(UserError, match=r"gs://anonymous@logs/none.*: no such file or folder"):
        opened(f"gs://anonymous@logs/none{options}")
    with pytest.raises(UserError, match=r"gs://anonymous@none/x.*: no such file or folder"):
        opened(f"gs://anonymous@none/x{options}")
