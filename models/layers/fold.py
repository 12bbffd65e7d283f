"""Folds the BatchNorms of a trained tower into its Linears for inference."""

import copy
from typing import TypeVar

import torch
from torch import nn

from models.layers.experts import ExpertLayer
from models.layers.norm import BatchNorm, Shift

Tower = TypeVar("Tower", bound=nn.Module)


@torch.no_grad()
def folded(tower: Tower) -> Tower:
    """Return a copy in eval mode with the scales of BatchNorms folded into the weights.

    Its output equals that of `tower` in eval mode, up to rounding, with one pass less over each
    expert layer's output. `tower` is not modified.
    """
    tower = copy.deepcopy(tower).eval()
    for layer in tower.modules():
        if isinstance(layer, ExpertLayer) and isinstance(layer.norm, BatchNorm):
            scale_ED, shift_ED = layer.norm.folded()
            layer.linear.weight.mul_(scale_ED[..., None])
            shift = Shift(scale_ED.shape[0], scale_ED.shape[1], layer.norm.activation)
            shift.bias = nn.Parameter(shift_ED)
            layer.norm = shift.eval()
    return tower
