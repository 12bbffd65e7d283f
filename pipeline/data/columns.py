"""Converts Arrow columns to arrays for batches: checks, folds, normalizes and reorders them.

All operations are on columns of a window of row groups: no Python code runs per row or value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
import torchrec  # noqa: F401  (loads torch.ops.fbgemm)
from torch import Tensor

from embeddings.input_layer import IdRange, InputLayer
from pipeline.data.batch import NO_USER
from pipeline.data.column_values import (
    Locate,
    integers,
    list_lengths,
    list_weights,
    numbers,
    probabilities,
    reject,
    row_weights,
    take,
    targets,
)
from pipeline.data.rows import Rows
from pipeline.data.schema import AGAIN, Label, Schema, SparseFeature
from pipeline.io.arrays import Float32Array, IntArray

_GIVE_HASH_ROWS = {
    True: "set --embeddings.hash_rows",
    False: f"give the table more unknown_rows in schema.json, or {AGAIN}",
}


def input_layer(
    schema: Schema, features: Sequence[SparseFeature], hash_rows: Mapping[str, int]
) -> InputLayer:
    """Return the input layer for these features, with `hash_rows` by table."""
    ids = {
        feature.name: IdRange(schema.table(feature.table).vocab_size, hash_rows[feature.table])
        for feature in features
    }
    return InputLayer(ids, [(number.mean, number.std) for number in schema.dense])


class Columns:
    """The columns that a run reads, and their conversion."""

    def __init__(
        self,
        schema: Schema,
        *,
        features: Sequence[SparseFeature],
        tasks: Sequence[Label],
        hash_rows: Mapping[str, int],
        with_oracle: bool,
        events: Sequence[Sequence[str]] = (),
    ) -> None:
        """
        Args:
            hash_rows: rows of each table, after its vocabulary, for ids outside it.
            events: groups of multi-valued features whose n-th values belong to the same event.
        """
        assert features, "a batch needs at least one key"
        self._schema = schema
        self.keys = [feature.name for feature in features]
        self.multi = [feature.multi for feature in features]
        self._single = [feature for feature in features if not feature.multi]
        self._multi = [feature for feature in features if feature.multi]
        places = {feature.name: index for index, feature in enumerate(self._multi)}
        self._events = [[places[name] for name in names] for names in events]
        self.inputs = input_layer(schema, features, hash_rows)
        self._id_type = np.int32 if self.inputs.id_dtype == torch.int32 else np.int64
        self._dense = schema.dense
        self.tasks = tuple(tasks)
        self._oracles = tuple(task.oracle for task in tasks) if with_oracle else None
        self._user_column = schema.user_column
        self._weight_column = schema.weight_column
        self._users_are_indices = schema.user_column in [one.column for one in schema.sparse]

    @property
    def types(self) -> dict[str, pa.DataType]:
        """Columns to read, without duplicates, and their types."""
        kinds = {feature.column: pa.int64() for feature in self._single}
        kinds |= {feature.column: pa.list_(pa.int64()) for feature in self._multi}
        kinds |= {one.weights: pa.list_(pa.float32()) for one in self._multi if one.weights}
        kinds |= {feature.column: pa.float32() for feature in self._dense}
        kinds |= {task.column: pa.float32() for task in self.tasks}
        kinds |= {name: pa.float32() for name in self._oracles or () if name is not None}
        if self._weight_column is not None:
            kinds[self._weight_column] = pa.float32()
        return kinds if self._user_column is None else kinds | {self._user_column: pa.int64()}

    @property
    def floats(self) -> list[str]:
        """Columns of numbers and labels, without duplicates."""
        return [name for name, kind in self.types.items() if pa.types.is_floating(kind)]

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Minimum and maximum valid value of each column."""
        found: dict[str, tuple[float, float]] = {}
        for feature in (*self._single, *self._multi):
            vocab_size, hash_rows = self.inputs.ids[feature.name]
            found[feature.column] = (0, 2**63 - 1 if hash_rows else vocab_size - 1)
        largest = float(np.finfo(np.float32).max)
        found |= {one.weights: (-largest, largest) for one in self._multi if one.weights}
        found |= {number.column: (-largest, largest) for number in self._dense}
        found |= {name: (0, 1) for name in self._oracles or () if name is not None}
        if self._weight_column is not None:
            found[self._weight_column] = (0, largest)
        return found | {task.column: (0, 1) for task in self.tasks}

    def check_floats(self, table: pa.Table, locate: Locate) -> None:
        """Check numbers, labels and oracles of `table`, which may lack all other columns.

        Raises UserError like `decode`.
        """
        for number in self._dense:
            numbers(table[number.column], number, locate)
        for task in self.tasks:
            targets(table[task.column], task, locate)
        for name in self._oracles or ():
            if name is not None:
                probabilities(table[name], name, locate)
        if self._weight_column is not None:
            row_weights(table[self._weight_column], self._weight_column, locate)

    def decode(
        self, table: pa.Table, order: IntArray, weights: Float32Array, locate: Locate
    ) -> Rows:
        """Decode the rows `order` of `table`, in this order.

        `weights`: of these rows, 0 for padding; multiplied by those of the weight column.

        Raises UserError, naming file, row and column, for an invalid value.
        """
        single = np.empty((len(self._single), len(order)), dtype=self._id_type)
        for feature, out in zip(self._single, single, strict=True):
            take(self._fold(integers(table[feature.column]), feature, locate), order, out)

        bags, bag_weights, lengths = (
            [],
            [],
            torch.empty(len(self._multi), len(order), dtype=torch.int32),
        )
        for feature, into in zip(self._multi, lengths, strict=True):
            bag, counts, weights_of_bag = self._bag(table, feature, order, locate)
            bags.append(bag)
            bag_weights.append(weights_of_bag)
            into.copy_(counts)
        self._check_events(lengths, order, locate)

        # By column first: each is gathered where it is dense.
        dense_NB = np.empty((len(self._dense), len(order)), dtype=np.float32)
        for number, out in zip(self._dense, dense_NB, strict=True):
            take(numbers(table[number.column], number, locate), order, out)
        normalized_BN = self.inputs.normalize_columns(torch.from_numpy(dense_NB))

        labels_TB = np.empty((len(self.tasks), len(order)), dtype=np.float32)
        for task, out in zip(self.tasks, labels_TB, strict=True):
            take(targets(table[task.column], task, locate), order, out)

        oracle = None
        if self._oracles is not None:
            oracle = np.full((len(order), len(self._oracles)), np.nan, dtype=np.float32)
            for index, name in enumerate(self._oracles):
                if name is not None:
                    oracle[:, index] = probabilities(table[name], name, locate)[order]

        if self._weight_column is not None:
            column = table[self._weight_column]
            weights = weights * row_weights(column, self._weight_column, locate)[order]

        return Rows(
            single=torch.from_numpy(single),
            bags=tuple(bags),
            lengths=lengths,
            dense=normalized_BN,
            labels=torch.from_numpy(labels_TB).t().contiguous(),
            weights=torch.from_numpy(weights),
            users=self._users(table, order),
            oracle=None if oracle is None else torch.from_numpy(oracle),
            bag_weights=tuple(bag_weights) if any(one.weights for one in self._multi) else (),
        )

    def _users(self, table: pa.Table, order: IntArray) -> Tensor:
        """Return users; NO_USER without a column, for nulls, and for index 0 of a user feature."""
        if self._user_column is None:
            return torch.full((len(order),), NO_USER)
        users: IntArray = table[self._user_column].fill_null(NO_USER).to_numpy()
        if self._users_are_indices:
            users = np.where(users == 0, NO_USER, users)
        return torch.from_numpy(users[order])

    def _bag(
        self, table: pa.Table, feature: SparseFeature, order: IntArray, locate: Locate
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return values, lengths [n] and weights of the bags `order`; a null list is empty."""
        column = table[feature.column]
        lengths = list_lengths(column)
        weights = None
        if feature.weights is not None:
            found = list_weights(table[feature.weights], lengths, feature.weights, feature, locate)
            weights = torch.from_numpy(found)
        # By chunk: each is folded and converted while it is in cache.
        chunks: list[IntArray] = []
        num_values = 0

        def locate_value(index: int) -> str:
            value = num_values + index
            return locate(int(np.searchsorted(lengths.cumsum(), value, side="right")))

        for chunk in column.chunks:
            values = self._fold(integers(chunk.flatten()), feature, locate_value)
            chunks.append(values.astype(self._id_type, copy=False))
            num_values += len(values)
        new_lengths, bags, new_weights = torch.ops.fbgemm.permute_1D_sparse_data(
            torch.from_numpy(order.astype(np.int32)),
            torch.from_numpy(lengths),
            torch.from_numpy(np.concatenate(chunks)),
            weights,
            None,
        )
        return bags, new_lengths, None if weights is None else new_weights

    def _check_events(self, lengths: Tensor, order: IntArray, locate: Locate) -> None:
        """Check that histories of one kind of event have equal lengths."""
        for first, *others in self._events:
            for other in others:
                wrong = (lengths[first] != lengths[other]).nonzero()
                if len(wrong):
                    index = int(wrong[0])
                    reject(
                        locate(int(order[index])),
                        self._multi[other].column,
                        int(lengths[other, index]),
                        f"its number of values, but {self._multi[first].column!r}, which "
                        f"model.attention pairs with it, has {int(lengths[first, index])}",
                        "assign these two features to separate events, or " + AGAIN,
                    )

    def _fold(self, values: IntArray, feature: SparseFeature, locate: Locate) -> IntArray:
        """Return table rows of a feature; ids outside its vocabulary share its hash rows."""
        vocab_size, hash_rows = self.inputs.ids[feature.name]
        # As unsigned numbers, negative ids are huge: one pass finds both kinds of invalid ids.
        if not values.size or values.view(np.uint64).max() < vocab_size:
            return values
        if values.min() < 0:
            index = int(np.argmax(values < 0))
            reject(locate(index), feature.column, values[index], "a negative index", AGAIN)
        outside = np.flatnonzero(values >= vocab_size)
        if not hash_rows:
            index = int(outside[0])
            reject(
                locate(index),
                feature.column,
                values[index],
                f"outside the vocabulary of table {feature.table!r} ({vocab_size} rows), which has "
                "no hash rows",
                _GIVE_HASH_ROWS[self._schema.table(feature.table).unknown_rows is None],
            )
        folded = values.copy()
        ids = torch.from_numpy(values[outside])
        folded[outside] = self.inputs.fold(feature.name, ids).numpy()
        return folded
