"""The sections of a run's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from models.balancing.config import BalanceConfig, FixedConfig
from models.layers.config import AttentionConfig
from models.towers.config import HomeConfig, TowerConfig


def _on_off(value: Any) -> Any:
    """YAML reads a bare on and off as true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Decay = Annotated[float, Field(ge=0, lt=1)]
Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_off)]


class Section(BaseModel):
    """Frozen; refuses unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )


class DataConfig(Section):
    """Where rows come from."""

    path: Path = Path("data/demo")
    """A prepared folder (see 'homerec prepare')."""
    tasks: tuple[str, ...] = ()
    """Tasks to train, by name; none named: every label the folder marks as default."""
    features: tuple[str, ...] = ()
    """Features to use, sparse and dense, by name or pattern ('hist_*'); none named: all."""
    exclude: tuple[str, ...] = ()
    """Features to leave out, by name or pattern."""
    num_workers: int = Field(default=1, ge=0)
    """Threads a rank that decode Parquet ahead of training; 0 decodes in line."""
    shuffle_row_groups: int = Field(default=16, ge=1)
    """Row groups mixed with each other at a time (more: better shuffled, more memory)."""


class ModelConfig(Section):
    """The dense half."""

    tower: TowerConfig = HomeConfig()
    """The multi-task tower, by its `kind`."""
    attention: AttentionConfig = AttentionConfig()
    """Histories pooled anew for each candidate."""
    sync_batch_norm: bool = True
    """Batch statistics over all ranks (one small exchange a norm); off: each rank its own."""


class LossConfig(Section):
    """Binary cross-entropy of every task, made into one loss. The log shows each task's own, by
    the model's own logits and without any of these weights."""

    balance: BalanceConfig = FixedConfig()
    """How the losses of tasks become one, by its `kind`."""
    task_weights: Mapping[str, float] = Field(default_factory=dict)
    """Weight of a task's loss by task name; 1 where not named. For balance fixed and pcgrad: the
    others find weights themselves."""
    positive_weights: Mapping[str, float] = Field(default_factory=dict)
    """How often a positive label counts, by task name; 1 where not named. Predictions stay
    calibrated."""
    negative_sampling: Mapping[str, float] = Field(default_factory=dict)
    """Probability with which a negative label is kept for a step, by task name, above 0 and up to
    1; 1 where not named. Predictions stay calibrated."""

    @field_validator("task_weights")
    @classmethod
    def _not_negative(cls, value: Mapping[str, float], info: ValidationInfo) -> Mapping[str, float]:
        for task, weight in value.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"weight of {task!r} is {weight}; weights are finite, 0 or more")
        kind = getattr(info.data.get("balance"), "kind", "fixed")
        if value and kind in ("uncertainty", "gradnorm"):
            raise ValueError(
                f"balance {kind} finds weights itself; name no task_weights, or take balance fixed "
                "or pcgrad"
            )
        return value

    @field_validator("positive_weights")
    @classmethod
    def _positive(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for task, weight in value.items():
            if not 0 < weight < float("inf"):
                raise ValueError(f"weight of {task!r} is {weight}; weights are finite, above 0")
        return value

    @field_validator("negative_sampling")
    @classmethod
    def _rate(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for task, rate in value.items():
            if not 0 < rate <= 1:
                raise ValueError(f"rate of {task!r} is {rate}; rates are above 0 and up to 1")
        return value


class DenseOptimizerConfig(Section):
    """AdamW over every parameter that is no table."""

    lr: float = Field(default=1e-3, gt=0)
    """Learning rate at its peak."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of the first and second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment."""
    clip_norm: float = Field(default=10.0, ge=0)
    """Largest norm of the tower's gradient; 0: no limit. Tables update in backward, unclipped."""


class ScheduleConfig(Section):
    """One factor on both learning rates."""

    warmup_steps: int = Field(default=20, ge=0)
    """Steps of linear warm-up from 0."""
    decay: Literal["constant", "linear", "cosine"] = "linear"
    """How the rate falls from the end of warm-up to the last step."""
    final: float = Field(default=0.1, ge=0, le=1)
    """Share of the peak rate at the last step."""


class TrainConfig(Section):
    """The loop."""

    epochs: int = Field(default=1, ge=1)
    """Passes over the training split."""
    max_steps: int = Field(default=0, ge=0)
    """End after this many steps; 0: after `epochs`."""
    batch_size: int = Field(default=2048, ge=1)
    """Rows a step over all ranks together; where the ranks do not divide them, each takes the
    nearest whole number."""
    base_world_size: int = Field(default=0, ge=0)
    """Ranks that batch_size is meant for: with others each rank still takes batch_size / ranks
    rows, and the global batch follows their number; 0: it is held whatever their number."""
    scale_lr: Literal["constant", "sqrt", "linear"] = "sqrt"
    """How both learning rates follow the global batch where `ranks` lets it change."""
    micro_batch_size: int = Field(default=0, ge=0)
    """Rows that a rank takes through the tower at once; a step's rows beyond it follow in further
    pieces of its gradient, so a job that lost ranks holds its global batch in the same memory.
    Results are equal but for rounding, except that batch norms see a piece each; 0: all at once."""
    pipeline: Literal["sparse_dist", "base", "semi_sync", "prefetch"] = "sparse_dist"
    """What overlaps. sparse_dist: the next step's ids go between ranks during this one; base:
    nothing, same results; semi_sync: also the next step's rows, looked up before this step has
    updated them (other results); prefetch: also the filling of caches on a GPU."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Weights, order of rows."""
    deterministic: bool = False
    """Two runs equal to the bit, on the same machines and ranks: PyTorch's deterministic kernels,
    an error where there is none."""
    log_every: int = Field(default=10, ge=1)
    """Steps between lines in the log."""
    eval_every: int = Field(default=0, ge=0)
    """Steps between evaluations on the validation split; 0: once an epoch. Always at the end."""
    select: str = "mean/auc"
    """TASK/FIGURE of the validation split that chooses the best checkpoint; 'mean' is the mean over
    tasks; auc and gauc: higher is better; ne and log_loss: lower is better."""
    patience: int = Field(default=0, ge=0)
    """Evaluations without a better `select` before training stops early; 0: never."""
    ema_decay: Decay = 0.0
    """What an exponential moving average of the tower's weights keeps of itself a step (0.99: it
    reaches back some 100 steps, but never more than half of those done); evaluations, and with
    them the best checkpoint, take the average, training goes on from the weights themselves. The
    tower's memory once more; tables are not averaged. 0: off."""
    bf16: Switch = "auto"
    """bfloat16 autocast of the tower; auto: on a GPU that has units for it, off on CPU, so that
    figures do not depend on which CPU it is."""
    compile: Switch = "auto"
    """torch.compile of the tower; auto: on a GPU. On CPU it needs a C++ compiler and
    some seconds."""
    timeout: int = Field(default=600, ge=1)
    """Seconds that ranks wait for each other; then the run ends and names who did not answer."""

    @field_validator("select")
    @classmethod
    def _figure(cls, value: str) -> str:
        figure = value.rpartition("/")[2]
        if "/" not in value or figure not in ("auc", "gauc", "ne", "log_loss"):
            raise ValueError(f"{value!r} is not TASK/FIGURE with FIGURE auc, gauc, ne or log_loss")
        return value


class ExpertHealthConfig(Section):
    """Looks at the tower's experts while they train."""

    probe_every: int = Field(default=50, ge=0)
    """Steps between looks (experts' outputs, gate weights, gradients); 0: never. Evaluations look
    in any case."""


Policy = Literal["stop", "skip", "rollback"]


class FaultsConfig(Section):
    """What is done about a step that goes wrong; every rank does the same."""

    on_nonfinite: Policy = "stop"
    """A loss or gradient that is not finite: stop the run; skip the batch; or skip it and go back
    to the weights of the last checkpoint."""
    on_loss_spike: Policy = "skip"
    """What to do about a loss spike (see `spike_mad`): stop, skip or rollback."""
    spike_mad: float = Field(default=0.0, ge=0)
    """A spike is a loss above median + spike_mad * MAD (median distance from the median) of the
    last steps'; 0: none is."""
    spike_window: int = Field(default=100, ge=2)
    """Steps that median and MAD are of; half of them must be known (anew after a resume)."""
    max_skipped: int = Field(default=10, ge=0)
    """Batches skipped in this process before the run stops all the same, rollbacks counted too."""
    straggler_factor: float = Field(default=3.0, ge=0)
    """A rank whose tower takes this many times as long as the median rank's is reported with its
    host; 0: none is."""
    straggler_window: int = Field(default=20, ge=1)
    """Steps that a rank's time is summed over before it is judged."""


class DebugConfig(Section):
    """Proofs while training, that cost time."""

    check_replica_consistency: int = Field(default=0, ge=0)
    """Steps between comparisons of everything that ranks hold in common (tower, replicated
    tables, their optimizer's state), to the bit; 0: never."""


class CheckpointConfig(Section):
    """What is kept of a run."""

    every: int = Field(default=0, ge=0)
    """Steps between checkpoints besides those of evaluations; 0: no others."""
    minutes: float = Field(default=0.0, ge=0)
    """Minutes between checkpoints, by rank 0's clock, besides those by steps; 0: by steps alone."""
    incremental_every: int = Field(default=0, ge=0)
    """Steps between checkpoints, in between the others, of those table rows alone that changed
    since the last whole one; 0: none. Keeps a copy of the weights on the host."""
    asynchronous: bool = True
    """Training goes on while a checkpoint is written: it waits only for a copy of the weights in
    memory, which takes their size once more on the host. Evaluations and the end of the run wait
    for the file. What is written is the same, bit for bit."""
    keep: int = Field(default=2, ge=1)
    """Newest whole checkpoints kept, and as many of changed rows with what they add to; the best
    one stays besides."""
    keep_every: int = Field(default=0, ge=0)
    """Steps; the first checkpoint at or after each multiple of these stays for ever; 0: none do."""
    path: str | None = None
    """Where checkpoints go: a folder, or an address that fsspec knows (s3://bucket/runs/a), which
    one run has for itself. '': into the run's own folder."""

    @field_validator("path", mode="before")
    @classmethod
    def _own_folder(cls, value: Any) -> Any:
        return value or None
