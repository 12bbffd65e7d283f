"""A run is one frozen tree: from recipe, YAML and command line, checked once, saved beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

from embeddings.features import EmbeddingsConfig
from embeddings.fused_optimizer import SparseOptimizerConfig
from embeddings.planner.plans.stock_plan import ShardingConfig
from models.balancing.balance import BalanceConfig, FixedConfig
from models.layers.attention import AttentionConfig
from models.towers.config import TowerConfig
from models.towers.home import HomeConfig
from pipeline.config.renamed import old_name_in, renamed
from pipeline.io.errors import UserError, nearest
from pipeline.io.files import write_text
from pipeline.io.storage import AnyPath


def _on_off(value: Any) -> Any:
    """YAML reads a bare on and off as true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Decay = Annotated[float, Field(ge=0, lt=1)]
Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_off)]


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )


class DataConfig(_Frozen):
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


class ModelConfig(_Frozen):
    """The dense half."""

    tower: TowerConfig = HomeConfig()
    """The multi-task tower, by its `kind`."""
    attention: AttentionConfig = AttentionConfig()
    """Histories pooled anew for each candidate."""
    sync_batch_norm: bool = True
    """Batch statistics over all ranks (one small exchange a norm); off: each rank its own."""


class LossConfig(_Frozen):
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


class DenseOptimizerConfig(_Frozen):
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


class ScheduleConfig(_Frozen):
    """One factor on both learning rates."""

    warmup_steps: int = Field(default=20, ge=0)
    """Steps of linear warm-up from 0."""
    decay: Literal["constant", "linear", "cosine"] = "linear"
    """How the rate falls from the end of warm-up to the last step."""
    final: float = Field(default=0.1, ge=0, le=1)
    """Share of the peak rate at the last step."""


class TrainConfig(_Frozen):
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


class ExpertHealthConfig(_Frozen):
    """Looks at the tower's experts while they train."""

    probe_every: int = Field(default=50, ge=0)
    """Steps between looks (experts' outputs, gate weights, gradients); 0: never. Evaluations look
    in any case."""


Policy = Literal["stop", "skip", "rollback"]


class FaultsConfig(_Frozen):
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


class DebugConfig(_Frozen):
    """Proofs while training, that cost time."""

    check_replica_consistency: int = Field(default=0, ge=0)
    """Steps between comparisons of everything that ranks hold in common (tower, replicated
    tables, their optimizer's state), to the bit; 0: never."""


class CheckpointConfig(_Frozen):
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


class Config(_Frozen):
    """A run, whole."""

    recipe: str
    """The recipe this began from."""
    data: DataConfig = DataConfig()
    """Where rows come from."""
    embeddings: EmbeddingsConfig = EmbeddingsConfig()
    """The sparse half of the model."""
    model: ModelConfig = ModelConfig()
    """The dense half of the model."""
    loss: LossConfig = LossConfig()
    """What is minimised."""
    sparse: SparseOptimizerConfig = SparseOptimizerConfig()
    """The optimizer of the tables."""
    dense: DenseOptimizerConfig = DenseOptimizerConfig()
    """The optimizer of everything else."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Learning rates over time."""
    sharding: ShardingConfig = ShardingConfig()
    """What the planner may choose from."""
    train: TrainConfig = TrainConfig()
    """The loop."""
    expert_health: ExpertHealthConfig = ExpertHealthConfig()
    """Looks at the experts while they train."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """What is kept."""
    faults: FaultsConfig = FaultsConfig()
    """What is done about a step that goes wrong."""
    debug: DebugConfig = DebugConfig()
    """Proofs while training."""

    def save(self, path: AnyPath) -> None:
        write_text(path, self.model_dump_json(indent=1) + "\n")

    @staticmethod
    def load(path: AnyPath) -> Config:
        """Read back what `save` wrote. Equal to what was saved."""
        try:
            tree = json.loads(path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from error
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: line {error.lineno}: not JSON: {error.msg}") from error
        if isinstance(tree, dict) and (old := old_name_in(tree)):
            raise UserError(
                f"{path}: made by an older version, which named {renamed(old)} {old!r}; use that "
                "version for this run, or start a new one"
            )
        return build(tree, where=str(path))


Tree = dict[str, Any]


def merge(base: Tree, over: Mapping[str, Any]) -> Tree:
    """`over` laid on `base`, section by section.

    A section whose `kind` changes starts anew: another tower's fields mean nothing to it.
    """
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, dict):
            anew = "kind" in value and value["kind"] != old.get("kind")
            merged[key] = merge({} if anew else old, value)
        else:
            merged[key] = dict(value) if isinstance(value, Mapping) else value
    return merged


def read_yaml(path: Path) -> Tree:
    """A YAML file with a tree's sections. UserError names file and line of what is wrong."""
    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{path}: {line}not YAML: {getattr(error, 'problem', error)}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: holds {type(tree).__name__}, not sections such as 'train:'")
    return tree


def build(tree: Tree, *, where: str) -> Config:
    """The checked tree. UserError: field, value, remedy, in one line; `where` names its origin."""
    if isinstance(tree, Mapping) and (old := old_name_in(tree)):
        raise UserError(f"{where}: {old}: renamed to {renamed(old)}")
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error, tree)}") from error


def _explain(error: ValidationError, tree: Tree) -> str:
    """The first thing wrong, as 'field: value: what, remedy'."""
    first = error.errors()[0]
    # pydantic puts a union member's tag into the path; a person did not write it.
    path: list[str] = []
    node: Any = tree
    for part in first["loc"]:
        key = str(part)
        if isinstance(node, Mapping) and key in node:
            node = node[key]
        elif isinstance(node, (list, tuple)) and isinstance(part, int) and part < len(node):
            node = node[part]
        elif isinstance(node, Mapping) and node.get("kind") == key:
            continue
        path.append(key)
    field = ".".join(path)
    if first["type"] == "extra_forbidden":
        section, name = ".".join(path[:-1]), path[-1]
        known = [leaf.removeprefix(section + ".") for leaf in _names(section, tree)]
        return f"unknown field {field!r}; {nearest(name, known)}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if first["type"] == "missing":
        return f"{field}: {message}"
    return f"{field}: {first['input']!r}: {message}"


def _names(section: str, tree: Tree) -> list[str]:
    model: type[BaseModel] = Config
    node: Any = tree
    for part in [part for part in section.split(".") if part]:
        node = node.get(part, {}) if isinstance(node, Mapping) else {}
        members = _models(model.model_fields[part].annotation)
        kind = node.get("kind") if isinstance(node, Mapping) else None
        chosen = [m for m in members if kind is None or m.model_fields["kind"].default == kind]
        if not chosen:
            return []
        model = chosen[0]
    return list(model.model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The section types inside an annotation: one, or a union's members."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, type(int | str)) or hasattr(annotation, "__metadata__"):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)


def fields(
    model: type[BaseModel] = Config, default: BaseModel | None = None, prefix: str = ""
) -> Iterator[tuple[str, Any, Any, str]]:
    """Every leaf of the tree: (dotted name, type, default, help). Unions list each member's."""
    seen: set[str] = set()
    for name, field in model.model_fields.items():
        value = getattr(default, name, None) if default is not None else _default(field)
        dotted = f"{prefix}{name}"
        sections = _models(field.annotation)
        if not sections:
            yield dotted, field.annotation, value, field.description or ""
            continue
        for section in sections:
            chosen = value if isinstance(value, section) else None
            for leaf in fields(section, chosen or section.model_construct(), f"{dotted}."):
                if leaf[0] in seen:
                    continue
                seen.add(leaf[0])
                yield leaf
