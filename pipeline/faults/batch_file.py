"""Saves the batch of a bad step to a file, and loads it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torchrec import KeyedJaggedTensor

from pipeline.data.batch import Batch
from pipeline.io.errors import UserError

_PARTS = ("dense", "labels", "weights", "users", "oracle")


def dump_batch(path: Path, batch: Batch, about: dict[str, Any]) -> None:
    """Write `batch` and information `about` it (step, rank, reason)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sparse = batch.sparse
    torch.save(
        {
            "about": about,
            **{name: getattr(batch, name) for name in _PARTS},
            "keys": list(sparse.keys()),
            "values": sparse.values(),
            "lengths": sparse.lengths(),
            "sparse_weights": sparse.weights_or_none(),
        },
        path,
    )


def load_batch(path: Path) -> tuple[Batch, dict[str, Any]]:
    """Load a file of `dump_batch` to the CPU. Raises UserError for any other file.

    The file cannot execute code: it may contain only tensors, numbers, text and collections.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return _batch(state), state["about"]
    except pickle.UnpicklingError as error:
        cause = "it contains more than tensors, numbers and text"
        raise UserError(f"{path}: not a batch ({cause}); give a file of RUN/debug") from error
    except Exception as error:  # a damaged pickle may raise anything
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path}: not a readable batch ({cause}); give a file of RUN/debug"
        ) from error


def _batch(state: Any) -> Batch:
    """Check that the tensors are consistent. Raises ValueError."""
    sparse = KeyedJaggedTensor(
        keys=state["keys"],
        values=state["values"],
        lengths=state["lengths"],
        weights=state["sparse_weights"],
    )
    batch = Batch(sparse=sparse, **{name: state[name] for name in _PARTS})
    rows = len(batch.weights)
    if not isinstance(state["about"], dict) or not all(type(key) is str for key in state["keys"]):
        raise ValueError("its information about the batch is not text")
    if any(part.shape[:1] != (rows,) or part.dim() != 2 for part in (batch.dense, batch.labels)):
        raise ValueError("its parts have different numbers of rows")
    lengths = sparse.lengths()
    if len(lengths) != rows * len(state["keys"]) or bool((lengths < 0).any()):
        raise ValueError("its features have different numbers of rows")
    if int(lengths.sum()) != len(sparse.values()):
        raise ValueError("its lengths do not match its values")
    return batch


def show_batch(path: Path, row: int | None = None) -> str:
    """Describe the origin of the batch, and ranges by feature; with `row`, the values of a row."""
    batch, about = load_batch(path)
    lines = [f"{name}: {value}" for name, value in about.items()]
    rows = len(batch.weights)
    if row is not None and not 0 <= row < rows:
        raise UserError(f"--row: {row} is not in {path}, which has rows 0 to {rows - 1}")
    lines.append(f"rows: {rows}")
    sparse = batch.sparse
    for key in sparse.keys():  # noqa: SIM118 (a KeyedJaggedTensor is no dict)
        ids = sparse[key]
        if row is not None:
            lines.append(f"{key}: {ids.to_dense()[row].tolist()}")
        elif len(values := ids.values()):
            lines.append(f"{key}: {len(values)} ids, rows {values.min()} to {values.max()}")
        else:
            lines.append(f"{key}: no ids")
    for name in ("dense", "labels"):
        part = getattr(batch, name)
        if row is not None:
            lines.append(f"{name}: {part[row].tolist()}")
        elif part.numel():
            bad = int((~torch.isfinite(part)).any(dim=1).sum())
            lines.append(f"{name}: {part.shape[1]} columns, {bad} rows with values not finite")
    return "\n".join(lines)
