"""A model folder, or one that is exported from a checkpoint for this command alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def model_of(model: Path | None, checkpoint: str | None) -> Iterator[Path]:
    """Return the folder `model`, or that of `checkpoint`, which is removed afterwards."""
    if model is not None:
        yield model
        return
    assert checkpoint is not None
    from pipeline.export.export import export

    with tempfile.TemporaryDirectory(prefix="homerec-model-") as folder:
        export(checkpoint, Path(folder) / "model", compile_tower="off")
        yield Path(folder) / "model"
