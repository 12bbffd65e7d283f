"""A collection of weighted bags: values and gradients are those of a loop."""

from __future__ import annotations

import torch
from torchrec import KeyedJaggedTensor

from embeddings.collection import build_bags
from embeddings.features import EmbeddingTable


def test_weighted_bags_are_sums_of_weights_times_rows() -> None:
    table = EmbeddingTable(name="t", rows=9, dim=4, dtype="fp32", features=("a", "b"))
    collection = build_bags([table], weighted=True)
    assert collection is not None
    assert collection.is_weighted()
    source = torch.Generator().manual_seed(0)
    collection.to_empty(device="cpu")
    (rows,) = collection.parameters()
    rows.data.copy_(torch.randn(9, 4, generator=source))
    lengths = torch.tensor([2, 0, 3, 1, 1, 1])
    ids = torch.randint(0, 9, (8,), generator=source)
    weights = torch.randn(8, generator=source)
    sparse = KeyedJaggedTensor(keys=["a", "b"], values=ids, lengths=lengths, weights=weights)
    pooled = collection(sparse).to_dict()
    factors = torch.randn(6, 4, generator=source)
    found = torch.cat([pooled["a"], pooled["b"]])
    (gradient,) = torch.autograd.grad((found * factors).sum(), rows)

    naive = rows.detach().clone().requires_grad_()
    at, bags = 0, []
    for length in lengths.tolist():
        bag = torch.zeros(4)
        for i in range(at, at + length):
            bag = bag + weights[i] * naive[ids[i]]
        bags.append(bag)
        at += length
    (expected,) = torch.autograd.grad((torch.stack(bags) * factors).sum(), naive)
    torch.testing.assert_close(found, torch.stack(bags))
    torch.testing.assert_close(gradient, expected)


def test_bags_have_no_weights_by_default() -> None:
    table = EmbeddingTable(name="t", rows=9, dim=4, dtype="fp32", features=("a",))
    collection = build_bags([table])
    assert collection is not None
    assert not collection.is_weighted()
