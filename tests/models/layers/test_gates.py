"""Gates read the inputs and weigh the experts they are wired to."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.layers.gates import Gate, Gates
from tests.models.building import perturb, rows

indices = st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True)


@given(wiring=st.lists(st.tuples(indices, indices), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_logits_are_those_of_one_linear_per_gate(
    wiring: list[tuple[list[int], list[int]]],
) -> None:
    gates = Gates([Gate(str(i), *pair) for i, pair in enumerate(wiring)], 3, 5, 5)
    gates.init_weights(0)
    perturb(gates.double())
    x = rows(6, 15).view(6, 5, 3)
    logits = gates(x)
    row = bias_row = 0
    for g, (inputs, experts) in enumerate(wiring):
        size = len(experts) * len(inputs)
        weight = gates.weight[row : row + size].view(len(experts), -1)
        bias = gates.bias[bias_row : bias_row + len(experts)]
        expected = x[:, inputs].flatten(1) @ weight.T + bias
        torch.testing.assert_close(logits[:, g, experts], expected)
        others = sorted(set(range(5)) - set(experts))
        assert logits[:, g, others].isneginf().all()
        row, bias_row = row + size, bias_row + len(experts)
    assert row == gates.weight.shape[0]
    assert bias_row == gates.bias.shape[0]


def test_an_expert_outside_a_gate_gets_no_gradient() -> None:
    gates = Gates([Gate("a", [0], [0, 2]), Gate("b", [1], [1])], 3, 2, 3)
    gates.init_weights(0)
    gates.double()
    x = rows(6, 6).view(6, 2, 3).requires_grad_()
    weights = gates(x).softmax(-1)
    torch.testing.assert_close(weights.sum(-1), torch.ones(6, 2).double())
    (dx,) = torch.autograd.grad(weights[:, 0, 0].sum(), x)
    assert (dx[:, 0] != 0).all()
    assert (dx[:, 1] == 0).all()
