"""The scores of a run's test rows, so that every metric can be computed again.

predictions.npz: logits [N, T] float32, labels [N, T] int8 (-1: missing), users [N] int64 (the same
number for a user at every origin; NO_USER: none).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from pipeline.data.batch import NO_USER
from pipeline.data.schema import Schema
from pipeline.features.vocabulary import Vocabulary, hash_integers, hash_text
from pipeline.io.arrays import IntArray
from pipeline.io.errors import UserError
from pipeline.training.step import StepOutput

NAME = "predictions.npz"
MISSING = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Test rows in the order of the prepared folder, T tasks."""

    logits_NT: NDArray[np.float32]
    labels_NT: NDArray[np.int8]
    users_N: IntArray

    def save(self, folder: Path) -> None:
        """Write `folder`/predictions.npz at once."""
        partial = folder / f".{NAME}.partial"
        with partial.open("wb") as file:
            np.savez_compressed(
                file, logits=self.logits_NT, labels=self.labels_NT, users=self.users_N
            )
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / NAME)

    @staticmethod
    def load(folder: Path) -> Predictions:
        """Raises UserError if the file is missing or damaged."""
        path = folder / NAME
        try:
            with path.open("rb") as file, np.load(file) as found:
                return Predictions(
                    logits_NT=found["logits"], labels_NT=found["labels"], users_N=found["users"]
                )
        except Exception as error:  # zipfile and zlib raise their own, too
            raise UserError(
                f"{path}: cannot be read ({error}); remove its folder, and --resume trains again"
            ) from error

    def same_rows(self, other: Predictions) -> bool:
        """Whether both are of the same rows in the same order."""
        return np.array_equal(self.users_N, other.users_N) and np.array_equal(
            self.labels_NT, other.labels_NT
        )


class Collector:
    """Collects the outputs of an evaluation on one rank."""

    def __init__(self) -> None:
        self._parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def __call__(self, output: StepOutput) -> None:
        batch = output.batch
        kept_B = batch.weights > 0
        labels_BT = batch.labels[kept_B].nan_to_num(MISSING).to(torch.int8)
        self._parts.append((output.logits_BT[kept_B].float(), labels_BT, batch.users[kept_B]))

    def predictions(self, folder: Path, schema: Schema) -> Predictions:
        """Return all rows; `folder`, `schema`: the prepared folder and its schema."""
        logits_NT, labels_NT, users_N = (
            torch.cat(parts).cpu().numpy() for parts in zip(*self._parts, strict=True)
        )
        return Predictions(
            logits_NT=logits_NT,
            labels_NT=labels_NT,
            users_N=lasting_users(users_N, folder, schema),
        )


def lasting_users(users_N: IntArray, folder: Path, schema: Schema) -> IntArray:
    """Replace indices of a vocabulary, which differ by origin, by the hash of the user's id."""
    column = next((one for one in schema.sparse if one.column == schema.user_column), None)
    if column is None:
        return users_N
    words = Vocabulary.load(folder / "vocab", column.table, pl.String()).ids
    numbers = words.cast(pl.Int64, strict=False)
    if numbers.null_count():
        hashes = np.array([hash_text(word) for word in words], dtype=np.int64)
    else:
        hashes = hash_integers(numbers.to_numpy())
    known_N = (users_N > 0) & (users_N <= len(words))
    vocab_size = len(words) + 1
    lasting_N = np.where(known_N, 0, users_N - vocab_size)
    lasting_N[known_N] = hashes[users_N[known_N] - 1]
    result: IntArray = np.where(users_N == NO_USER, NO_USER, lasting_N)
    return result
