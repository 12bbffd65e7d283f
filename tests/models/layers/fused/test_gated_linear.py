"""Chunks of rows must not show, whatever their size."""

import pytest
import torch
from torch import Tensor

from models.layers.feature_gates import FeatureGates
from models.layers.fused import chunks
from tests.models.building import perturb, rows


@pytest.mark.parametrize("batch", [1, 31, 32, 33, 100])
@pytest.mark.parametrize("shared", [True, False], ids=["one input", "an input each"])
def test_gated_linear_equals_the_plain_form(
    batch: int, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    gates = FeatureGates(["a", "b", "c"], 7, num_masks=3, rank=2)
    gates.init_weights(0)
    perturb(gates.double())
    x = rows(batch) if shared else torch.stack([rows(batch, seed=e) for e in range(3)])
    weight = torch.stack([rows(5, seed=e) for e in range(3)])
    dh = torch.stack([rows(batch, 5, seed=e) for e in range(3)])

    def run(x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
        h = gates.linear(x, weight)
        return h, *torch.autograd.grad(h, (x, weight, *gates.parameters()), dh)

    chunked = run(x, weight)
    monkeypatch.setattr(chunks, "is_wanted", lambda: False)
    torch.testing.assert_close(chunked, run(x, weight))
