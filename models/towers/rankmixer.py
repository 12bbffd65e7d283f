"""RankMixer: tokens of features, mixed without parameters, each with a network of its own.

Follows the abstract of Zhu et al., arXiv 2507.15551: multi-head token mixing in place of
self-attention, and per-token feed-forward networks. The head, a token per task, is ours.

Suffixes: B rows, F features, N tokens, D width of a token, T tasks.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.experts import Networks, TaskTowers
from models.layers.fused.mixture import mix
from models.layers.norm import EPS
from models.layers.softmax import softmax
from models.tasks import Task
from models.towers.config import RankMixerConfig


class MixerLayer(nn.Module):
    """`s = norm(mixed(x) + x)`, then `norm(network(s) + s)`, on tokens [N, B, D]."""

    def __init__(self, names: Sequence[str], config: RankMixerConfig) -> None:
        super().__init__()
        dim = config.expert_dim
        self.dropout = config.dropout
        self.networks = Networks(names, (dim, *config.expert_hidden, dim), config.activation)
        self.norms = nn.ModuleList(nn.LayerNorm(dim, eps=EPS) for _ in range(2))

    def forward(self, x_NBD: Tensor) -> Tensor:
        after_mixing, after_network = self.norms
        s_NBD = after_mixing(mixed(x_NBD) + x_NBD)
        out_NBD = F.dropout(self.networks(s_NBD), self.dropout, self.training)
        result: Tensor = after_network(out_NBD + s_NBD)
        return result

    def init_weights(self, seed: int) -> None:
        self.networks.init_weights(seed)
        for norm in self.norms:
            assert isinstance(norm, nn.LayerNorm)
            norm.reset_parameters()


def mixed(x_NBD: Tensor) -> Tensor:
    """Split each token into N heads; token h becomes the concatenation of all tokens' heads h."""
    num_tokens, num_rows, _ = x_NBD.shape
    heads_NBHd = x_NBD.view(num_tokens, num_rows, num_tokens, -1)
    return heads_NBHd.permute(2, 1, 0, 3).flatten(2)


class RankMixer(nn.Module):
    """See RankMixerConfig. Call `init_weights` before use.

    The features are split into N parts of equal width, the last padded with zeros; a Linear of each
    makes a token x_n, which `num_layers` layers mix. Each task reads a token of its own,

        y_t     = sum_n softmax_n(q_t x_n / sqrt(D)) x_n
        logit_t = tower_t(y_t)

    with learned q_t, at first 0: the mean of all tokens.
    """

    def __init__(self, config: RankMixerConfig, num_features: int, tasks: Sequence[Task]) -> None:
        super().__init__()
        if num_features < 1:
            raise ValueError(f"num_features: {num_features}; a tower needs at least one feature")
        self.config = config
        self.towers = TaskTowers(tasks, config)
        self.width = -(-num_features // config.num_tokens)
        tokens = [f"token.{n}" for n in range(config.num_tokens)]
        self.tokens = Networks(tokens, (self.width, config.expert_dim), config.activation)
        self.layers = nn.ModuleList(
            MixerLayer([f"layer{i + 1}.{token}" for token in tokens], config)
            for i in range(config.num_layers)
        )
        self.queries = nn.Parameter(torch.empty(len(tasks), config.expert_dim))

    def forward(self, v_BF: Tensor) -> Tensor:
        """Features [B, F] -> logits [B, T], in the order of the tasks given to build()."""
        num_tokens = self.config.num_tokens
        v_BF = F.pad(v_BF, (0, num_tokens * self.width - v_BF.shape[1]))
        parts_NBF = v_BF.view(-1, num_tokens, self.width).transpose(0, 1)
        x_NBD = self.tokens(parts_NBF.contiguous())
        for layer in self.layers:
            x_NBD = layer(x_NBD)
        scores_NBT = x_NBD @ self.queries.T / math.sqrt(x_NBD.shape[2])
        y_BTD = mix(softmax(scores_NBT.permute(1, 2, 0)), x_NBD)
        return self.towers(y_BTD.transpose(0, 1))

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Initialize every parameter from its name and `seed`."""
        self.tokens.init_weights(seed)
        for layer in self.layers:
            assert isinstance(layer, MixerLayer)
            layer.init_weights(seed)
        self.queries.zero_()
        self.towers.init_weights(seed)
