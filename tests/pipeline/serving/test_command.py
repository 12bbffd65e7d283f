"""`homerec serve` as a process: its address, its signals, its exit code."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from launchers.cli.main import main
from pipeline.api import Model
from pipeline.export.export import export


def test_others_are_not_served_without_keys(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--model", str(model_folder), "--host", "0.0.0.0"]) == 2
    assert "others could use this server; give --keys FILE" in capsys.readouterr().err
    keys = tmp_path / "keys"
    keys.write_text("web rank short", encoding="utf-8")
    words = ["serve", "--model", str(model_folder), "--host", "0.0.0.0", "--keys", str(keys)]
    assert main(words) == 2
    assert f"{keys}: line 1: the token of 'web' is shorter" in capsys.readouterr().err
    assert main(["serve", "--model", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_signals_change_the_model_and_end_the_server(
    trained: Model, model_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    command = [sys.executable, "-m", "launchers.cli", "serve", "--model", str(folder)]
    server = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, encoding="utf-8")
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        assert line.startswith(f"serving {folder} on http://127.0.0.1:")
        connection = HTTPConnection("127.0.0.1", int(line.rpartition(":")[2]), timeout=60)
        connection.request("GET", "/v1/model")
        before = connection.getresponse().read()
        export(trained.folder, folder, tables="fp16", compile_tower="off", overwrite=True)
        server.send_signal(signal.SIGHUP)
        assert server.stdout.readline().startswith(f"serving {folder}, digest ")
        connection.request("GET", "/v1/model")
        assert connection.getresponse().read() != before
        shutil.rmtree(folder)
        server.send_signal(signal.SIGHUP)
        assert server.stdout.readline().startswith(f"refused: {folder}: not an exported model")
        connection.close()
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    assert server.stdout.readline() == "stopping: 0 open requests\n"
    server.stdout.close()
