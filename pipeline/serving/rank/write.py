"""Writes a ranking as JSON or as an Arrow IPC stream: by columns, in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.serving.rank.ranking import Ranking

METADATA = b"homerec.ranking"


def write_json(ranking: Ranking, tasks: Sequence[str], about: Mapping[str, Any]) -> bytes:
    """Return {...about, id, probabilities: {task: [...]}, score, order, unknown_ids, missing_keys}.

    Scores that are NaN or infinite are null.
    """
    value: dict[str, Any] = dict(about)
    if ranking.ids is not None:
        value["id"] = ranking.ids.to_pylist()
    columns = ranking.probabilities.T.tolist()
    value["probabilities"] = dict(zip(tasks, columns, strict=True))
    value["score"] = ranking.score.tolist()
    if ranking.order is not None:
        value["order"] = ranking.order.tolist()
    value["unknown_ids"] = ranking.unknown
    value["missing_keys"] = ranking.missing
    return msgspec.json.encode(value)


def write_arrow(ranking: Ranking, tasks: Sequence[str], about: Mapping[str, Any]) -> bytes:
    """Return columns id, order, one per task, score; the rest is JSON in the schema's metadata."""
    arrays: list[Any] = []
    names: list[str] = []
    if ranking.ids is not None:
        arrays, names = [ranking.ids], ["id"]
    if ranking.order is not None:
        arrays.append(pa.array(ranking.order))
        names.append("order")
    arrays += [pa.array(np.ascontiguousarray(one)) for one in ranking.probabilities.T]
    arrays.append(pa.array(ranking.score))
    schema_names = [*names, *tasks, "score"]
    rest = msgspec.json.encode(
        {**about, "unknown_ids": ranking.unknown, "missing_keys": ranking.missing}
    )
    batch = pa.record_batch(arrays, names=schema_names).replace_schema_metadata({METADATA: rest})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    found: bytes = sink.getvalue().to_pybytes()
    return found
