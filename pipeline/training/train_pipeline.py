"""Builds the TorchRec train pipeline that train.pipeline names."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchrec.distributed.train_pipeline import TrainPipelineBase, TrainPipelineSparseDist
from torchrec.distributed.train_pipeline.runtime_forwards import EmbeddingPipelinedForward
from torchrec.distributed.train_pipeline.train_pipelines import (
    PrefetchTrainPipelineSparseDist,
    TrainPipelineSemiSync,
)
from torchrec.distributed.train_pipeline.utils import _start_embedding_lookup
from torchrec.distributed.types import LazyNoWait

from pipeline.config.tree import Config
from pipeline.data.batch import Batch
from pipeline.io.errors import UserError
from pipeline.ranks.world import World
from pipeline.training.parallelize import Parallel
from pipeline.training.step import StepOutput

# Kernels of tables with a GPU cache of host memory or disk, for prefetch.
_CACHED = ("fused_uvm_caching", "key_value")


def open_pipeline(parallel: Parallel, world: World, config: Config | None = None) -> Any:
    """Build the pipeline `config.train.pipeline`; without a config TrainPipelineSparseDist.

    Raises UserError for unsupported combinations.
    """
    kind = "sparse_dist" if config is None else config.train.pipeline
    arguments = (parallel.model, parallel.optimizer, world.device)
    if kind == "base":
        return _Base(*arguments)
    made: TrainPipelineSparseDist[Batch, StepOutput]
    # It would count its own batches, evaluations' and those after a resume anew: ReplicaGroupSync
    # does it.
    no_sync = {"dmp_collection_sync_interval_batches": None}
    if kind == "semi_sync":
        assert config is not None
        _check_semi_sync(parallel, config)
        made = _SemiSync(*arguments, **no_sync)
    elif kind == "prefetch":
        _check_prefetch(parallel, world)
        made = PrefetchTrainPipelineSparseDist(*arguments, execute_all_batches=True)
        # TorchRec 1.8's constructor has no argument for it, unlike the other two.
        made._dmp_collection_sync_interval_batches = None
    else:
        made = TrainPipelineSparseDist(*arguments, execute_all_batches=True, **no_sync)
    return made


def _check_semi_sync(parallel: Parallel, config: Config) -> None:
    for field in ("on_nonfinite", "on_loss_spike"):
        if getattr(config.faults, field) == "rollback":
            raise UserError(
                f"faults.{field}: rollback would not restore rows that semi_sync has looked "
                "up already; use skip, or --train.pipeline sparse_dist"
            )
    if (groups := config.sharding.replica_groups) > 1:
        raise UserError(
            f"sharding.replica_groups: {groups} groups are averaged between a step and the next "
            "lookup, which semi_sync has already done; use 1, or --train.pipeline sparse_dist"
        )
    # Other tables change in the optimizer's step, between a lookup and its backward.
    outside = [row["table"] for row in parallel.plan["tables"] if row["compute_kernel"] == "dense"]
    if outside:
        raise UserError(
            f"train.pipeline: semi_sync needs tables that are updated in backward, and this plan "
            f"has {len(outside)} with a dense kernel ({outside[0]}); name --sharding.types without "
            "data_parallel, or take sparse_dist"
        )


def _check_prefetch(parallel: Parallel, world: World) -> None:
    if world.device.type != "cuda":
        raise UserError(
            "train.pipeline: prefetch fills caches on a GPU, and this rank runs on "
            f"{world.device.type}; take sparse_dist"
        )
    # Not tested on GPUs yet.
    kernels = sorted({row["compute_kernel"] for row in parallel.plan["tables"]})
    if not set(kernels) & set(_CACHED):
        raise UserError(
            f"train.pipeline: prefetch fills caches, and no table of this plan has one (kernels: "
            f"{', '.join(kernels)}); take sparse_dist, or a plan with {_CACHED[0]}"
        )


class _Base(TrainPipelineBase[Batch, StepOutput]):
    """TorchRec's pipeline, extended to accept another iterator after the end of the first."""

    def progress(self, dataloader_iter: Any) -> StepOutput:
        try:
            return super().progress(dataloader_iter)
        except StopIteration:
            self.reset()
            raise


class _KeepsGradients:
    """An optimizer whose gradients can be read after its step, as in the other pipelines."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self.clear = optimizer.zero_grad

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing: `clear` runs before the next backward."""

    def step(self) -> None:
        self._optimizer.step()


class _OnHost(EmbeddingPipelinedForward):
    """Rows that are already looked up, detached from their tables until `embedding_backward`."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        self._context.module_contexts.pop(self._name)
        found = self._context.embedding_a2a_requests.pop(self._name).wait()
        by_feature = isinstance(found, dict)
        rows = list(found.values()) if by_feature else [found]
        attached = [part.values() for part in rows]
        for part, tensor in zip(rows, attached, strict=True):
            part._values = tensor.detach().requires_grad_()
        self._context.embedding_tensors.append(attached)
        self._context.detached_embedding_tensors.append([part._values for part in rows])
        names = list(found.keys())
        self._context.embedding_features.append(names if by_feature else [names])
        return LazyNoWait(found)


class _SemiSync(TrainPipelineSemiSync[Batch, StepOutput]):
    """TorchRec's pipeline, active from the first step, and also on CPU, which has no streams."""

    def __init__(self, model: Any, optimizer: Any, device: Any, **options: Any) -> None:
        self._kept = _KeepsGradients(optimizer)
        super().__init__(
            model, self._kept, device, execute_all_batches=True, start_batch=0, **options
        )
        if device.type == "cpu":
            self._pipelined_forward_type = _OnHost

    def _validate_optimizer(self) -> None:
        """Already checked by _check_semi_sync."""

    def _mlp_forward(self, batch: Any, context: Any) -> tuple[Tensor, StepOutput]:
        if self._model.training:
            self._kept.clear()
        return super()._mlp_forward(batch, context)

    def start_embedding_lookup(self, batch: Any, context: Any) -> None:
        # A lookup takes along the rate that its update will have: the one of the step under way.
        # Clearing is what tells the tables of it; no gradient of this step is there yet.
        if self._model.training:
            self._kept.clear()
        if self._device.type != "cpu":  # not tested on GPUs yet
            super().start_embedding_lookup(batch, context)
        elif batch is not None:
            for module in self._pipelined_modules:
                _start_embedding_lookup(
                    module,
                    context,
                    source_stream=None,
                    target_stream=None,
                    stream_context=self._stream_context,
                )
