"""A server follows a published model, and answers every request meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path

from pipeline.api import Model
from pipeline.export.export import export
from pipeline.increments.channel import Channel
from pipeline.increments.follower import open_follower
from pipeline.increments.increment import write_increment
from pipeline.scoring.manifest import load_manifest
from pipeline.serving.http.follow import follow
from tests.pipeline.serving.client import running
from tests.pipeline.serving.test_rank import request


def test_no_request_is_lost_while_increments_are_applied(
    trained: Model, model_folder: Path, tmp_path: Path
) -> None:
    models = [model_folder]
    for number, formula in enumerate(("click", "stayed", "teen"), start=2):
        models.append(tmp_path / f"model{number}")
        export(trained.folder, models[-1], compile_tower="off", formula=formula)
    digests = [load_manifest(one)[1] for one in models]
    channel = Channel(str(tmp_path / "channel"))
    channel.put_full(1, model_folder)
    lines: list[str] = []
    follower = open_follower(str(tmp_path / "channel"), tmp_path / "work", lines.append)
    body = json.dumps(request(0)).encode()
    with running(follower.folder, deadline_ms=60_000) as server:
        seen: Counter[str] = Counter()
        task = asyncio.run_coroutine_threadsafe(
            follow(server.app, follower, lines.append, every_s=0.01), server.loop
        )
        for number in (2, 3, 4):
            file = tmp_path / "increment.zip"
            write_increment(models[number - 2], models[number - 1], file, number)
            channel.put_increment(number, file)
            end = time.monotonic() + 60
            while server.app.served.model.digest != digests[number - 1]:
                assert time.monotonic() < end, lines
                got = server.rank(body)
                assert got.status == 200
                seen[got.json["model"]] += 1
        assert server.rank(body).json["model"] == digests[-1]
        text = server.get("/metrics").body.decode()
        task.cancel()
    assert set(seen) <= set(digests)
    assert "homerec_model_number 4.0" in text
    assert "homerec_refused_models 0.0" in text
    steps = [f"serving model {number}, step 6" for number in (2, 3, 4)]
    assert lines == steps
