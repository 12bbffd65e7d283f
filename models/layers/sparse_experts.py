"""Experts that run only the rows that chose them, in grouped products.

Suffixes: B rows, E experts, N pairs of an expert and a row that it runs, by expert.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.layers.experts import ExpertLayer, Experts
from models.layers.fused import chunks
from models.layers.linear import ALIGNED
from models.layers.norm import BatchNorm

MOST = 0.7
"""Load, the share of pairs that run, from which masking is faster: rows need not be gathered.
Measured by benchmarks/sparse/tower.py on an Intel Xeon with AVX-512, one thread."""


def is_wanted(x: Tensor, runs_BE: Tensor) -> bool:
    """Whether to run chosen rows only. Otherwise all experts run all rows and are masked.

    The number of pairs depends on the values: compiled and exported towers have no such shapes, and
    on a GPU the host would wait for it. Products of float64 have no grouped form.
    """
    if not (chunks.is_wanted() and x.is_cpu and x.dtype != torch.float64):
        return False
    return int(runs_BE.sum()) < MOST * runs_BE.numel()


def run_chosen(experts: Experts, x_BF: Tensor, runs_BE: Tensor) -> Tensor:
    """Return outputs [E, B, D] of the experts for the rows that run them, zero for others."""
    num_rows, num_experts = runs_BE.shape
    expert_N, row_N = runs_BE.t().nonzero(as_tuple=True)
    ends_E = runs_BE.sum(0).cumsum(0).to(torch.int32)
    h_NH = x_BF.index_select(0, row_N)
    for layer in experts.layers:
        assert isinstance(layer, ExpertLayer)
        h_NH = _grouped(h_NH, layer.linear.weight, ends_E)
        assert not isinstance(layer.norm, BatchNorm)
        h_NH = F.dropout(layer.norm.of_rows(h_NH, expert_N), layer.dropout, layer.training)
    outputs = h_NH.new_zeros(num_experts * num_rows, h_NH.shape[1])
    outputs = outputs.index_copy(0, expert_N * num_rows + row_N, h_NH)
    return outputs.view(num_experts, num_rows, -1)


def _grouped(x_NI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Return the product of each row with the weights of its expert, [N, O]."""
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x_NI, weight_EOI = x_NI.to(dtype), weight_EOI.to(dtype)
    _, num_outputs, num_inputs = weight_EOI.shape
    padding = (0, -num_inputs % ALIGNED, 0, -num_outputs % ALIGNED)
    if any(padding):
        x_NI, weight_EOI = F.pad(x_NI, padding[:2]), F.pad(weight_EOI, padding)
    y_NO = F.grouped_mm(x_NI, weight_EOI.mT, offs=ends_E)
    return y_NO[:, :num_outputs]
