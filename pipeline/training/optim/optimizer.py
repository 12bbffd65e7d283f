"""The optimizer of a run: fused tables, fused AdamW for the tower, and unfused tables."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizer, KeyedOptimizerWrapper

from embeddings.config import SparseOptimizerConfig
from embeddings.unfused_optimizer import UnfusedRowWiseAdagrad
from pipeline.config.sections import DenseOptimizerConfig

TOWER = "dense"
"""The part of a run's optimizer that steps all that is no table."""


class RunOptimizer(CombinedOptimizer):
    """Steps all parts; the decision to skip a step stays on the device.

    One pass over the gradients outside fused tables gives their norm, which says whether they are
    finite and by how much AdamW scales the tower's. AdamW applies the scale as it reads a gradient
    and stores the clipped one.

    Attributes:
        rejected: 0-dim float32, set before `step`: 1 skips the step.
        nonfinite: 0-dim float32: 1 if a gradient of the last step was not finite, on any rank.
        skipped: 0-dim float32: 1 if the last step was skipped for either. A skipped step changes
            no weight and no state, bit for bit, except in fused tables.
    """

    def __init__(
        self,
        fused: KeyedOptimizer,
        tower: dict[str, nn.Parameter],
        tables: dict[str, nn.Parameter],
        dense: DenseOptimizerConfig,
        sparse: SparseOptimizerConfig,
        *,
        has_shards: bool,
    ) -> None:
        """Args:
        tables: those with a dense kernel and rows on this rank.
        tower: all other weights outside fused tables.
        has_shards: whether any rank's `tables` are sharded. Other gradients are averages over
            ranks, so that ranks agree which are finite.
        """
        self._tower, self._tables = list(tower.values()), list(tables.values())
        self._clip_norm, self._has_shards = dense.clip_norm, has_shards
        self._adamw = torch.optim.AdamW(
            self._tower,
            lr=dense.lr,
            betas=dense.betas,
            eps=dense.eps,
            weight_decay=dense.weight_decay,
            fused=True,
        )
        parts: list[KeyedOptimizer | tuple[str, KeyedOptimizer]] = [
            ("fused", fused),
            (TOWER, KeyedOptimizerWrapper(tower, lambda _: self._adamw)),
        ]
        self._adagrad: UnfusedRowWiseAdagrad | None = None
        if tables:
            adagrad = UnfusedRowWiseAdagrad(self._tables, lr=sparse.lr, eps=sparse.eps)
            parts.append(("unfused", KeyedOptimizerWrapper(tables, lambda _: adagrad)))
            self._adagrad = adagrad
        super().__init__(parts)
        device = self._tower[0].device
        self.rejected = torch.zeros((), device=device)
        self.nonfinite = torch.zeros((), device=device)
        self.skipped = torch.zeros((), device=device)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        of_tower = [weight.grad for weight in self._tower if weight.grad is not None]
        of_tables = [weight.grad for weight in self._tables if weight.grad is not None]
        norms = torch.stack(torch._foreach_norm(of_tower + of_tables))
        self.nonfinite = 1 - torch.isfinite(torch.linalg.vector_norm(norms)).float()
        if self._has_shards:
            dist.all_reduce(self.nonfinite, op=dist.ReduceOp.MAX)
        self.skipped = torch.maximum(self.rejected, self.nonfinite)
        # AdamW has these attributes for torch.amp.GradScaler. It skips a step with found_inf 1, and
        # divides gradients by grad_scale.
        self._adamw.found_inf = self.skipped  # type: ignore[attr-defined]
        if self._clip_norm:
            norm = torch.linalg.vector_norm(norms[: len(of_tower)])
            scale = (norm / self._clip_norm).clamp(min=1)
            self._adamw.grad_scale = scale  # type: ignore[attr-defined]
        if self._adagrad is not None:
            self._adagrad.found_inf = self.skipped
        super().step(closure)
