"""A run is one frozen tree: from recipe, YAML and command line, checked once, saved beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    BaseModel,
    ValidationError,
)

from embeddings.config import EmbeddingsConfig, ShardingConfig, SparseOptimizerConfig
from pipeline.config.fields import section_types
from pipeline.config.renamed import old_name_in, renamed
from pipeline.config.sections import (
    CheckpointConfig,
    DataConfig,
    DebugConfig,
    DenseOptimizerConfig,
    ExpertHealthConfig,
    FaultsConfig,
    LossConfig,
    ModelConfig,
    ScheduleConfig,
    Section,
    TrainConfig,
)
from pipeline.io.errors import UserError, nearest
from pipeline.io.files import write_text
from pipeline.io.storage import AnyPath


class Config(Section):
    """The configuration of a run."""

    recipe: str
    """Recipe that the configuration starts from."""
    data: DataConfig = DataConfig()
    """Training data."""
    embeddings: EmbeddingsConfig = EmbeddingsConfig()
    """Embedding tables."""
    model: ModelConfig = ModelConfig()
    """The dense half of the model."""
    loss: LossConfig = LossConfig()
    """Loss."""
    sparse: SparseOptimizerConfig = SparseOptimizerConfig()
    """Optimizer of the tables."""
    dense: DenseOptimizerConfig = DenseOptimizerConfig()
    """Optimizer of everything else."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Learning rate schedule."""
    sharding: ShardingConfig = ShardingConfig()
    """Sharding of the tables."""
    train: TrainConfig = TrainConfig()
    """Training loop."""
    expert_health: ExpertHealthConfig = ExpertHealthConfig()
    """Probes of the experts."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Checkpoints."""
    faults: FaultsConfig = FaultsConfig()
    """Handling of steps that go wrong."""
    debug: DebugConfig = DebugConfig()
    """Checks that cost time."""

    def save(self, path: AnyPath) -> None:
        write_text(path, self.model_dump_json(indent=1) + "\n")

    @staticmethod
    def load(path: AnyPath) -> Config:
        """Read back what `save` wrote. Equal to what was saved."""
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
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
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
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
        members = section_types(model.model_fields[part].annotation)
        kind = node.get("kind") if isinstance(node, Mapping) else None
        chosen = [m for m in members if kind is None or m.model_fields["kind"].default == kind]
        if not chosen:
            return []
        model = chosen[0]
    return list(model.model_fields)
