"""Target attention: a row's recent events, weighted by its candidate (DIN-style)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.config import AttentionConfig
from models.layers.initialize import generator


class Attention(nn.Module):
    """Pools each kind of event for the candidate. Call `init_weights` before use.

    With q the candidate's concatenated embeddings and k_i those of event i:

        score_i = Linear(SiLU(Linear([q, k_i, q * k_i])))
        w_i     = exp(score_i) / (1 + sum_j exp(score_j))
        out     = [sum_i w_i k_i, q * sum_i w_i k_i]

    The 1 is a score of 0 for 'none of the events': a history may be irrelevant, and an empty one
    gives 0. After Zhou et al., Deep Interest Network, KDD 2018 (arXiv 1706.06978), which has no
    softmax.

    Kinds of events are processed sequentially: their lengths differ by large factors (clicks,
    likes), so a batch of them would be mostly padding. Events of one kind are one ragged product
    over all rows.
    """

    def __init__(self, config: AttentionConfig, dim: int) -> None:
        super().__init__()
        self.events = {event: dict(pairs) for event, pairs in config.events.items()}
        self.nets = nn.ModuleList(
            nn.Sequential(
                nn.Linear(3 * dim * len(pairs), config.hidden),
                nn.SiLU(),
                nn.Linear(config.hidden, 1),
            )
            for pairs in self.events.values()
        )
        self.num_features = sum(2 * dim * len(pairs) for pairs in self.events.values())
        """Width of the output."""

    def forward(
        self,
        rows: Mapping[str, Tensor],
        lengths: Mapping[str, Tensor],
        candidates: Mapping[str, Tensor],
    ) -> Tensor:
        """Pool each history for the candidate -> [B, num_features].

        Args:
            rows: by history, [L, D]: embeddings of its values, in the order of the batch's rows.
            lengths: by history, [B]: number of values per row.
            candidates: by feature, [B, D].
        """
        out = []
        for net, pairs in zip(self.nets, self.events.values(), strict=True):
            q_BW = torch.cat([candidates[name] for name in pairs.values()], dim=1)
            k_LW = torch.cat([rows[name] for name in pairs], dim=1)
            pooled_BW = attend(net, q_BW, k_LW, lengths[next(iter(pairs))])
            out += [pooled_BW, q_BW * pooled_BW]
        return torch.cat(out, dim=1)

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Initialize every parameter from its event's name and `seed`."""
        for event, net in zip(self.events, self.nets, strict=True):
            for name, parameter in net.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
                    continue
                std = parameter.shape[1] ** -0.5
                random = generator(seed, f"attention.{event}.{name}")
                parameter.copy_(torch.empty(parameter.shape).normal_(0.0, std, generator=random))


def attend(net: nn.Module, q_BW: Tensor, k_LW: Tensor, lengths_B: Tensor) -> Tensor:
    """Return each row's events weighted by `net` ([L, 3W] -> [L, 1]), [B, W]; see Attention."""
    q_LW = q_BW.repeat_interleave(lengths_B, dim=0, output_size=len(k_LW))
    score_L = net(torch.cat([k_LW, q_LW, q_LW * k_LW], dim=1))[:, 0]
    offsets = offsets_of(lengths_B)
    # Subtract the row's maximum, including 'none', to avoid overflow; gradients do not change.
    top_B = torch.segment_reduce(score_L.detach(), "max", offsets=offsets, initial=0)
    top_L = top_B.repeat_interleave(lengths_B, output_size=len(k_LW))
    e_L1 = (score_L - top_L).exp()[:, None]
    total_BV = segment_sum(torch.cat([e_L1, e_L1 * k_LW], dim=1), offsets)
    return total_BV[:, 1:] / (total_BV[:, :1] + (-top_B).exp()[:, None])


def segment_sum(x_LD: Tensor, offsets: Tensor) -> Tensor:
    """Return the sum of each row's values, [B, D]; `offsets` [B + 1] are their bounds."""
    return torch.segment_reduce(x_LD, "sum", offsets=offsets, initial=0)


def offsets_of(lengths_B: Tensor) -> Tensor:
    """Return the start of each row's values and the total number, [B + 1]."""
    return F.pad(lengths_B.cumsum(0), (1, 0))
