"""Normalization and activation after the Linears of E experts: [E, B, D] -> [E, B, D].

Each takes the next layer's weights `linear` [E, out, D] too, and then returns the products with
them, [E, B, out]: computed by chunks, what lies between need not be stored.

Each kind has the bias of its layer, so the Linear before it has none (a bias before batch
statistics would have no effect and no gradient).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.config import Activation, Normalization
from models.layers.fused import chunked, chunks, normalize
from models.layers.fused.kernels import take

BatchMean = Callable[[Tensor], Tensor]
"""Differentiable mean over ranks of a tensor with the same shape on all.

Passed in by the caller, because models/ has no ranks; None means one process. It may also be called
in backward, on gradients.
"""

EPS = 1e-5
MOMENTUM = 0.1
"""Weight of the current batch in the running statistics, as in torch.nn.BatchNorm1d."""


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Swish is x * sigmoid(x), torch's SiLU."""
    return F.silu(x) if activation == "swish" else F.relu(x)


def affine(
    x: Tensor,
    scale: Tensor | None,
    shift: Tensor,
    activation: Activation,
    linear: Tensor | None = None,
) -> Tensor:
    """`activation(x * scale + shift)` for x [E, B, D], with scale (None: 1) and shift [E, D].

    With `linear` [E, out, D], its products with that, [E, B, out].
    """
    if chunks.is_wanted() and take(x):
        scale = torch.ones_like(shift) if scale is None else scale
        linear = None if linear is None else linear.to(x.dtype)
        out: Tensor = normalize.AffineActivation.apply(x, scale, shift, activation, linear)  # type: ignore[no-untyped-call]
        return out
    y = x + shift[:, None] if scale is None else torch.addcmul(shift[:, None], x, scale[:, None])
    out = activate(y, activation)
    return out if linear is None else torch.bmm(out, linear.mT)


class Shift(nn.Module):
    """No normalization: a bias [E, D], then the activation."""

    def __init__(self, num_experts: int, dim: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.bias = nn.Parameter(torch.empty(num_experts, dim))

    def forward(self, x_EBD: Tensor, linear: Tensor | None = None) -> Tensor:
        return affine(x_EBD, None, self.bias, self.activation, linear)

    def of_rows(self, x_ND: Tensor, expert_N: Tensor) -> Tensor:
        """Same for rows of different experts."""
        return activate(x_ND + self.bias[expert_N], self.activation)

    @torch.no_grad()
    def init_weights(self) -> None:
        self.bias.zero_()


class LayerNorm(nn.Module):
    """Normalizes each row of each expert; then scale and shift [E, D], and the activation."""

    def __init__(self, num_experts: int, dim: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.empty(num_experts, dim))
        self.bias = nn.Parameter(torch.empty(num_experts, dim))

    def forward(self, x_EBD: Tensor, linear: Tensor | None = None) -> Tensor:
        normal_EBD = F.layer_norm(x_EBD, x_EBD.shape[-1:], eps=EPS)
        return affine(normal_EBD, self.weight, self.bias, self.activation, linear)

    def of_rows(self, x_ND: Tensor, expert_N: Tensor) -> Tensor:
        """Same for rows of different experts."""
        normal_ND = F.layer_norm(x_ND, x_ND.shape[-1:], eps=EPS)
        scale_ND, shift_ND = self.weight[expert_N], self.bias[expert_N]
        return activate(torch.addcmul(shift_ND, normal_ND, scale_ND), self.activation)

    @torch.no_grad()
    def init_weights(self) -> None:
        self.weight.fill_(1.0)
        self.bias.zero_()


class BatchNorm(nn.Module):
    """Normalizes each of E*D channels over the batch; then scale and shift, and the activation.

    Training uses the statistics of the global batch: two moments of this rank's rows, averaged over
    ranks by one call of `batch_mean`. Evaluation uses running averages. Unlike in torch, the
    running variance is biased, because the size of the global batch is not known here.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_experts: int,
        dim: int,
        activation: Activation,
        batch_mean: BatchMean | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.batch_mean = batch_mean
        self.weight = nn.Parameter(torch.empty(num_experts, dim))
        self.bias = nn.Parameter(torch.empty(num_experts, dim))
        self.register_buffer("running_mean", torch.empty(num_experts, dim))
        self.register_buffer("running_var", torch.empty(num_experts, dim))

    def forward(self, x_EBD: Tensor, linear: Tensor | None = None) -> Tensor:
        if not self.training:
            return self._normalize(x_EBD, self.running_mean, self.running_var, linear)
        if not chunks.is_wanted():
            mean_ED, var_ED = self._over_ranks(*moments(x_EBD))
            self._track(mean_ED, var_ED)
            return self._normalize(x_EBD, mean_ED, var_ED, linear)
        compiled = take(x_EBD)
        with torch.no_grad():
            of_rank = normalize.moments(x_EBD) if compiled else chunked.moments(x_EBD)
            mean_ED, var_ED = self._over_ranks(*of_rank)
            self._track(mean_ED, var_ED)
        arguments = (x_EBD, self.weight, self.bias, mean_ED, var_ED, EPS, self.activation)
        if compiled:
            linear = None if linear is None else linear.to(x_EBD.dtype)
            return normalize.BatchNormActivation.apply(*arguments, self.batch_mean, linear)  # type: ignore[no-untyped-call]
        out = chunked.BatchNormActivation.apply(*arguments, self.batch_mean)  # type: ignore[no-untyped-call]
        return out if linear is None else torch.bmm(out, linear.mT)

    def _normalize(
        self, x_EBD: Tensor, mean_ED: Tensor, var_ED: Tensor, linear: Tensor | None
    ) -> Tensor:
        return affine(x_EBD, *self._affine(mean_ED, var_ED), self.activation, linear)

    def _affine(self, mean_ED: Tensor, var_ED: Tensor) -> tuple[Tensor, Tensor]:
        scale_ED = self.weight * torch.rsqrt(var_ED + EPS)
        return scale_ED, self.bias - mean_ED * scale_ED

    def _over_ranks(self, mean_ED: Tensor, var_ED: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance over the rows of all ranks."""
        if self.batch_mean is None:
            return mean_ED, var_ED
        # Moments about the running mean, which is equal on all ranks: about zero, a variance small
        # relative to the mean would be lost in the difference of two large numbers.
        offset_ED = mean_ED - self.running_mean
        both = torch.stack([offset_ED, var_ED + offset_ED.square()])
        offset_ED, second_ED = self.batch_mean(both).unbind(0)
        return offset_ED + self.running_mean, (second_ED - offset_ED.square()).clamp_min(0.0)

    @torch.no_grad()
    def _track(self, mean_ED: Tensor, var_ED: Tensor) -> None:
        self.running_mean.lerp_(mean_ED.to(self.running_mean.dtype), MOMENTUM)
        self.running_var.lerp_(var_ED.to(self.running_var.dtype), MOMENTUM)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift [E, D] of evaluation, applied before the activation."""
        return self._affine(self.running_mean, self.running_var)

    @torch.no_grad()
    def init_weights(self) -> None:
        self.weight.fill_(1.0)
        self.bias.zero_()
        self.running_mean.zero_()
        self.running_var.fill_(1.0)


def moments(x_EBD: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and biased variance [E, D] over B from differences to the first row.

    Squares about zero would lose a variance that is small relative to the mean.
    """
    wide_EBD = x_EBD.to(torch.promote_types(x_EBD.dtype, torch.float32))
    first_EBD = wide_EBD[:, :1].detach()
    difference_EBD = wide_EBD - first_EBD
    offset_ED = difference_EBD.mean(1)
    var_ED = difference_EBD.square().mean(1) - offset_ED.square()
    return first_EBD[:, 0] + offset_ED, var_ED.clamp_min(0.0)


def build_norm(
    kind: Normalization,
    num_experts: int,
    dim: int,
    activation: Activation,
    batch_mean: BatchMean | None,
) -> Shift | LayerNorm | BatchNorm:
    """Return normalization and activation of one layer of `num_experts` experts."""
    if kind == "batch":
        return BatchNorm(num_experts, dim, activation, batch_mean)
    return (LayerNorm if kind == "layer" else Shift)(num_experts, dim, activation)
