"""The sections of a run's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from models.balancing.config import BalanceConfig, FixedConfig
from models.layers.config import AttentionConfig
from models.towers.config import HomeConfig, TowerConfig
from pipeline.config.section import Section
from pipeline.metrics.spec import METRICS, selectable


def _on_off(value: Any) -> Any:
    """Convert booleans to on and off, because YAML reads a bare on and off as booleans."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Decay = Annotated[float, Field(ge=0, lt=1)]
Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_off)]
Bf16 = Annotated[Literal["auto", "on", "off", "measure"], BeforeValidator(_on_off)]


def _names(higher_is_better: bool) -> str:
    return " or ".join(
        metric.name for metric in METRICS if metric.higher_is_better is higher_is_better
    )


_SELECT = (
    "Validation metric that selects the best checkpoint: TASK/METRIC, where task 'mean' is the "
    f"mean over tasks and the metric is {_names(True)} (higher is better), {_names(False)} (lower "
    "is better)."
)


class ModelConfig(Section):
    """The dense half of the model."""

    tower: TowerConfig = HomeConfig()
    """The multi-task tower."""
    attention: AttentionConfig = AttentionConfig()
    """Target attention over histories."""
    sync_batch_norm: bool = True
    """Whether batch norms, and the load of SMES's experts, compute statistics over all ranks (one
    small all-reduce for each) instead of each rank's rows."""


class LossConfig(Section):
    """Binary cross-entropy per task, combined into one loss. The log contains each task's
    unweighted loss."""

    balance: BalanceConfig = FixedConfig()
    """How the losses of tasks are combined."""
    task_weights: Mapping[str, float] = Field(default_factory=dict)
    """Weight of a task's loss, by task; default 1. Only for the balances fixed and pcgrad, because
    the others choose the weights themselves."""
    positive_weights: Mapping[str, float] = Field(default_factory=dict)
    """Weight of a positive label, by task; default 1. Predictions remain calibrated."""
    negative_sampling: Mapping[str, float] = Field(default_factory=dict)
    """Probability of keeping a negative label in a step, by task, in (0, 1]; default 1. Predictions
    remain calibrated."""

    @field_validator("task_weights")
    @classmethod
    def _not_negative(cls, value: Mapping[str, float], info: ValidationInfo) -> Mapping[str, float]:
        for task, weight in value.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"weight of {task!r} is {weight}; write a finite number >= 0")
        kind = getattr(info.data.get("balance"), "kind", "fixed")
        if value and kind in ("uncertainty", "gradnorm"):
            raise ValueError(
                f"balance {kind} chooses the weights itself; remove them, or use balance fixed or "
                "pcgrad"
            )
        return value

    @field_validator("positive_weights")
    @classmethod
    def _positive(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for task, weight in value.items():
            if not 0 < weight < float("inf"):
                raise ValueError(f"weight of {task!r} is {weight}; write a finite number > 0")
        return value

    @field_validator("negative_sampling")
    @classmethod
    def _rate(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for task, rate in value.items():
            if not 0 < rate <= 1:
                raise ValueError(f"rate of {task!r} is {rate}; write a number > 0 and <= 1")
        return value


class DenseOptimizerConfig(Section):
    """Optimizer of every parameter outside the tables: AdamW."""

    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of the first and second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """Constant added to the square root of the second moment."""
    clip_norm: float = Field(default=10.0, ge=0)
    """Maximum norm of the tower's gradient; 0: no clipping. Tables are updated in backward, without
    clipping."""


class ScheduleConfig(Section):
    """Learning rate schedule: one factor for both optimizers."""

    warmup_steps: int = Field(default=20, ge=0)
    """Steps of linear warm-up from 0."""
    decay: Literal["constant", "linear", "cosine", "inverse_sqrt"] = "linear"
    """Shape of the decay from the end of warm-up to the last step. inverse_sqrt, like constant,
    needs no last step: the rate falls with 1 / sqrt(step)."""
    final: float = Field(default=0.1, ge=0, le=1)
    """Fraction of the peak learning rate at the last step; for inverse_sqrt the lowest one."""


class TrainConfig(Section):
    """The training loop."""

    epochs: int = Field(default=1, ge=1)
    """Passes over the training split."""
    max_steps: int = Field(default=0, ge=0)
    """Maximum number of steps; 0: all steps of `epochs`."""
    batch_size: int = Field(default=2048, ge=1)
    """Rows per step over all ranks. If the number of ranks does not divide it, each rank takes the
    nearest whole number."""
    base_world_size: int = Field(default=0, ge=0)
    """Number of ranks that batch_size is meant for. On any other number of ranks each rank still
    takes batch_size / base_world_size rows, so the global batch scales with the number of ranks; 0:
    the global batch is constant."""
    scale_lr: Literal["constant", "sqrt", "linear"] = "sqrt"
    """Scaling of both learning rates with the global batch if `base_world_size` is set."""
    micro_batch_size: int = Field(default=0, ge=0)
    """Maximum rows per rank in one pass through the tower. More rows are processed in several
    passes with accumulated gradients, so that fewer ranks can train with the same global batch in
    the same memory. Results differ only by rounding, and by batch norms, which use the statistics
    of each pass; 0: one pass."""
    pipeline: Literal["sparse_dist", "base", "semi_sync", "prefetch"] = "sparse_dist"
    """Overlap of communication and computation. base: none. sparse_dist: exchanges the next step's
    ids during this step, with the same results. semi_sync: also looks up the next step's rows
    before this step has updated them, so results differ. prefetch: also fills caches on a GPU."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the initial weights and the order of rows."""
    deterministic: bool = False
    """Whether two runs on the same machines and ranks are bitwise equal. Uses PyTorch's
    deterministic kernels; operations without one raise an error."""
    log_every: int = Field(default=10, ge=1)
    """Steps between log lines."""
    eval_every: int = Field(default=0, ge=0)
    """Steps between evaluations on the validation split; 0: once per epoch. Training always ends
    with an evaluation."""
    select: str = Field(default="mean/auc", description=_SELECT)
    patience: int = Field(default=0, ge=0)
    """Number of evaluations without a better `select` after which training stops; 0: never."""
    ema_decay: Decay = 0.0
    """EMA decay of the tower's weights per step; 0: off. 0.99 averages over about 100 steps, but at
    most over half of the steps so far. Evaluations, including the choice of the best checkpoint,
    use the average; training uses the original weights. Needs the tower's memory twice; tables are
    not averaged."""
    bf16: Bf16 = "auto"
    """bfloat16 autocast of the tower. auto: on for GPUs that support it, off on CPU, so that
    metrics do not depend on the CPU. measure: also on CPU, if its products are faster in bfloat16;
    another CPU may choose otherwise when it resumes the run."""
    compile: Switch = "auto"
    """torch.compile of the tower. auto: on for GPUs, off on CPU, where it needs a C++ compiler and
    delays the first steps."""
    timeout: int = Field(default=600, ge=1)
    """Seconds that ranks wait for each other. Then the run ends and names the ranks that did not
    answer."""

    @field_validator("select")
    @classmethod
    def _metric(cls, value: str) -> str:
        names = selectable()
        if "/" not in value or value.rpartition("/")[2] not in names:
            known = f"{', '.join(names[:-1])} or {names[-1]}"
            raise ValueError(f"write TASK/METRIC, with metric {known}")
        return value


class ExpertHealthConfig(Section):
    """Probes of the tower's experts during training."""

    probe_every: int = Field(default=50, ge=0)
    """Steps between probes (outputs of experts, gate weights, gradients); 0: only at
    evaluations."""


Policy = Literal["stop", "skip", "rollback"]


class FaultsConfig(Section):
    """Handling of bad steps, the same on every rank."""

    on_nonfinite: Policy = "stop"
    """Policy for a non-finite loss or gradient: stop the run, skip the batch, or skip it and roll
    back to the weights of the last checkpoint."""
    on_loss_spike: Policy = "skip"
    """Policy for a loss spike (see `spike_mad`)."""
    spike_mad: float = Field(default=0.0, ge=0)
    """Threshold for a loss spike, in MADs (median absolute deviations) above the median of recent
    losses; 0: off."""
    spike_window: int = Field(default=100, ge=2)
    """Number of steps for median and MAD. Detection starts after half of them, also after a
    resume."""
    max_skipped: int = Field(default=10, ge=0)
    """Maximum number of skipped batches per process, including rollbacks, before the run stops."""
    straggler_factor: float = Field(default=3.0, ge=0)
    """A rank whose time in the tower exceeds the median by this factor is reported with its host;
    0: off."""
    straggler_window: int = Field(default=20, ge=1)
    """Number of steps over which a rank's time is summed."""


class DebugConfig(Section):
    """Expensive checks during training."""

    check_replica_consistency: int = Field(default=0, ge=0)
    """Steps between bitwise comparisons of all replicated tensors (tower, replicated tables, their
    optimizer states); 0: never."""


class CheckpointConfig(Section):
    """Checkpoints of a run."""

    every: int = Field(default=0, ge=0)
    """Steps between checkpoints, in addition to those at evaluations; 0: none."""
    minutes: float = Field(default=0.0, ge=0)
    """Minutes between checkpoints, by rank 0's clock, in addition to those by steps; 0: none."""
    incremental_every: int = Field(default=0, ge=0)
    """Steps between incremental checkpoints, which contain only the table rows changed since the
    last full checkpoint; 0: none. Needs a copy of the weights in host memory."""
    asynchronous: bool = True
    """Whether training continues while a checkpoint is written. Training waits only for a copy of
    the weights to host memory; evaluations and the end of the run wait for the files. The files are
    the same, bit for bit."""
    keep: int = Field(default=2, ge=1)
    """Number of newest full checkpoints to keep, and of incremental ones with their full ones. The
    best checkpoint is always kept."""
    keep_every: int = Field(default=0, ge=0)
    """Interval, in steps, of checkpoints to keep forever: the first at or after each multiple; 0:
    none."""
    path: str | None = None
    """Folder or fsspec address (s3://bucket/runs/a) for checkpoints, used by one run only; not
    memory://, which is lost when the process ends. '': in the run folder."""

    @field_validator("path", mode="before")
    @classmethod
    def _own_folder(cls, value: Any) -> Any:
        return value or None

    @field_validator("path")
    @classmethod
    def _outlives_the_process(cls, value: str | None) -> str | None:
        if value and any(part.startswith("memory://") for part in value.split("::")):
            raise ValueError(
                "it is lost when the process ends; give a folder or a store such as "
                "s3://bucket/runs/a"
            )
        return value
