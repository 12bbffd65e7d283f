"""Decoded rows: split, concatenated, and converted to a `Batch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchrec import KeyedJaggedTensor

from pipeline.data.batch import Batch


@dataclass(frozen=True, slots=True)
class Rows:
    """n decoded rows, in the order of use."""

    single: Tensor
    """[F1, n], ids in the type of the batch: the single-valued features."""
    bags: tuple[Tensor, ...]
    """The values of each multi-valued feature, in that type, by row."""
    lengths: Tensor
    """[F2, n] int32: number of values per row."""
    dense: Tensor
    labels: Tensor
    weights: Tensor
    users: Tensor
    oracle: Tensor | None = None
    """Same as in `Batch`, with n for B."""
    bag_weights: tuple[Tensor | None, ...] = ()
    """float32 weights of the values of each multi-valued feature, or None for 1; empty if no
    feature has weights."""

    def __len__(self) -> int:
        return self.users.shape[0]

    def split(self, sizes: list[int]) -> list[Rows]:
        """Split into views of `sizes` rows each."""
        lengths = torch.split(self.lengths, sizes, dim=1)
        counts = torch.stack([part.sum(dim=1) for part in lengths], dim=1)  # [F2, parts]
        bags = [
            torch.split(bag, count.tolist()) for bag, count in zip(self.bags, counts, strict=True)
        ]
        weights: list[list[Tensor | None]] = [
            [None] * len(sizes) if part is None else list(torch.split(part, count.tolist()))
            for part, count in zip(self.bag_weights, counts, strict=False)
        ]
        whole = [self.dense, self.labels, self.weights, self.users]
        whole += [] if self.oracle is None else [self.oracle]
        return [
            Rows(
                single,
                tuple(bag[part] for bag in bags),
                lengths[part],
                dense,
                labels,
                row_weights,
                users,
                oracle[0] if oracle else None,
                bag_weights=tuple(weight[part] for weight in weights),
            )
            for part, (single, dense, labels, row_weights, users, *oracle) in enumerate(
                zip(
                    torch.split(self.single, sizes, dim=1),
                    *(torch.split(tensor, sizes) for tensor in whole),
                    strict=True,
                )
            )
        ]

    def between(self, start: int, stop: int) -> Rows:
        """Return rows `start` to `stop`, as views."""
        if (start, stop) == (0, len(self)):
            return self
        return self.split([start, stop - start, len(self) - stop])[1]

    @staticmethod
    def join(parts: Sequence[Rows]) -> Rows:
        if len(parts) == 1:
            return parts[0]
        oracles = [part.oracle for part in parts if part.oracle is not None]
        return Rows(
            single=torch.cat([part.single for part in parts], dim=1),
            bags=tuple(map(torch.cat, zip(*(part.bags for part in parts), strict=True))),
            lengths=torch.cat([part.lengths for part in parts], dim=1),
            dense=torch.cat([part.dense for part in parts]),
            labels=torch.cat([part.labels for part in parts]),
            weights=torch.cat([part.weights for part in parts]),
            users=torch.cat([part.users for part in parts]),
            oracle=torch.cat(oracles) if oracles else None,
            bag_weights=tuple(
                None if of_bag[0] is None else torch.cat([w for w in of_bag if w is not None])
                for of_bag in zip(*(part.bag_weights for part in parts), strict=True)
            ),
        )

    def batch(self, keys: list[str], multi: Sequence[bool]) -> Batch:
        """Return the rows as a batch; `keys` are the features, `multi` marks bags."""
        lengths = torch.ones(len(keys), len(self), dtype=torch.int32)
        if self.bags:
            singles, bags = iter(self.single.unbind()), iter(self.bags)
            values = torch.cat([next(bags if is_bag else singles) for is_bag in multi])
            lengths[torch.tensor(multi)] = self.lengths
        else:
            values = self.single.flatten()
        weights = None
        if self.bag_weights:
            values_of = zip(self.bags, self.bag_weights, strict=True)
            of_bags = (torch.ones(len(bag)) if w is None else w for bag, w in values_of)
            weights = torch.cat(
                [next(of_bags) if is_bag else torch.ones(len(self)) for is_bag in multi]
            )
        return Batch(
            dense=self.dense,
            sparse=KeyedJaggedTensor(
                keys=keys,
                values=values,
                weights=weights,
                lengths=lengths.view(-1),
                stride=len(self),
            ),
            labels=self.labels,
            weights=self.weights,
            users=self.users,
            oracle=self.oracle,
        )
