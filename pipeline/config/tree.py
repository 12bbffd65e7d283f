"""The configuration tree of a run: built from recipe, YAML and command line, validated once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from embeddings.config import EmbeddingsConfig, ShardingConfig, SparseOptimizerConfig
from embeddings.number_types import misplaced_bool
from embeddings.quoted import quoted
from pipeline.config.data import DataConfig
from pipeline.config.explain import explain
from pipeline.config.fields import fields
from pipeline.config.follow import FollowConfig
from pipeline.config.renamed import old_name_in, renamed
from pipeline.config.section import Section
from pipeline.config.sections import (
    CheckpointConfig,
    DebugConfig,
    DenseOptimizerConfig,
    ExpertHealthConfig,
    FaultsConfig,
    LossConfig,
    ModelConfig,
    ScheduleConfig,
    TrainConfig,
)
from pipeline.data.table.spec import TableSpec
from pipeline.features.config import FeatureConfig
from pipeline.features.limits import expanded
from pipeline.io.errors import UserError
from pipeline.io.files import write_text
from pipeline.io.storage import AnyPath
from pipeline.io.typed_json import read_typed

_MAX_COUNT = 2**31 - 1
"""Of steps, rows of a batch, seconds and all else that has no bound of its own."""


class Config(Section):
    """The configuration of a run."""

    recipe: str
    """Recipe that the configuration starts from."""
    auto: tuple[str, ...] = ()
    """Fields whose values follow from the prepared folder when training starts; fields with values
    of their own are removed. Saved configurations have values and none of these."""
    data: DataConfig = DataConfig()
    """Training data."""
    features: Mapping[str, FeatureConfig] = Field(default_factory=dict)
    """Features of the table in data.source, by name."""
    embeddings: EmbeddingsConfig = EmbeddingsConfig()
    """Embedding tables."""
    model: ModelConfig = ModelConfig()
    """The dense half of the model."""
    loss: LossConfig = LossConfig()
    """Loss."""
    sparse: SparseOptimizerConfig = SparseOptimizerConfig()
    """Optimizer of the tables."""
    dense: DenseOptimizerConfig = DenseOptimizerConfig()
    """Optimizer of all other parameters."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Learning rate schedule."""
    sharding: ShardingConfig = ShardingConfig()
    """Sharding of the tables."""
    train: TrainConfig = TrainConfig()
    """Training loop."""
    follow: FollowConfig = FollowConfig()
    """Training on a log that grows."""
    expert_health: ExpertHealthConfig = ExpertHealthConfig()
    """Probes of the experts."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Checkpoints."""
    faults: FaultsConfig = FaultsConfig()
    """Handling of bad steps."""
    debug: DebugConfig = DebugConfig()
    """Expensive checks."""

    def table_spec(self) -> TableSpec | None:
        """Return what `data` and `features` say of a table of one's own; None without a source.

        Raises UserError if labels or features are missing, or tasks have the same name.
        """
        data = self.data
        if data.source is None:
            return None
        for field, found in (("data.labels", data.labels), ("features", self.features)):
            if not found:
                raise UserError(
                    f"{field}: none, but data.source is set; 'homerec init' writes a configuration "
                    "for a table"
                )
        try:
            labels = expanded(data.labels)
        except ValueError as error:
            raise UserError(str(error)) from error
        return TableSpec(
            source=data.source,
            join=data.join,
            split=data.split,
            user=data.user,
            weight=data.weight,
            labels=labels,
            features=self.features,
            on_bad_row=data.on_bad_row,
            rows_per_group=data.rows_per_group,
        )

    def save(self, path: AnyPath) -> None:
        write_text(path, self.model_dump_json(indent=1) + "\n")

    @staticmethod
    def load(path: AnyPath) -> Config:
        """Load a file of `save`. The result equals the saved configuration."""
        tree = read_typed(path, dict[str, Any], remedy="give a file that homerec wrote")
        if old := old_name_in(tree):
            raise UserError(
                f"{path}: from an older version, where {renamed(old)} was {old!r}; use that "
                "version for this run, or start a new one"
            )
        return build(tree, where=str(path))


Tree = dict[str, Any]


def merge(base: Tree, over: Mapping[str, Any]) -> Tree:
    """Override `base` with `over`, section by section.

    If the `kind` of a section changes, the fields of the old kind are dropped.
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


def build(tree: Tree, *, where: str) -> Config:
    """Validate the tree. Raises UserError in one line; `where` is the origin of the tree."""
    if isinstance(tree, Mapping) and (old := old_name_in(tree)):
        raise UserError(f"{where}: {old}: renamed to {renamed(old)}")
    if place := misplaced_bool(Config, tree):
        field = ".".join(map(str, place))
        raise UserError(
            f"{where}: {field}: true or false; write a number (yes and on are true to YAML)"
        )
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, Config, tree)}") from error
    for found in fields(Config, config):
        bounded = any(getattr(limit, "le", None) is not None for limit in found.constraints)
        if isinstance(found.default, int) and found.default > _MAX_COUNT and not bounded:
            value = quoted(found.default)
            raise UserError(f"{where}: {found.name}: {value}: write at most {_MAX_COUNT}")
    return config
