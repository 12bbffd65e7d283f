"""BatchNorms of a trained tower folded into its Linears: the eval form."""

import copy
from typing import TypeVar

import torch
from torch import nn

from models.layers.experts import ExpertLayer
from models.layers.norm import BatchNorm, Shift

Tower = TypeVar("Tower", bound=nn.Module)


@torch.no_grad()
def folded(tower: Tower) -> Tower:
    """A copy in eval mode whose BatchNorms are shifts, their scales gone into the weights.

    It gives what `tower` gives in eval mode, up to rounding, with one pass less over each
    expert layer's output; `tower` stays as it is.
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
