"""Write a cluster as the YAML file that `load_cluster` reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.yaml_files import validate

# More digits than any measurement has.
_DIGITS = 5


def rounded(cluster: Cluster) -> Cluster:
    """Equal to what is read back from `cluster_yaml`."""
    return validate(Cluster, _short(cluster.model_dump(mode="json")), cluster.name)


def cluster_yaml(cluster: Cluster, notes: Sequence[str]) -> str:
    """The file's text, `notes` as its comments."""
    tree = _short(rounded(cluster).model_dump(mode="json", exclude_none=True))
    head = "".join(f"# {line}\n" for line in notes)
    return head + yaml.safe_dump(tree, sort_keys=False, width=1_000)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, float):
        # YAML 1.1 takes '1e-05' for text: PyYAML writes 1.0e-05, which it reads as a number.
        return float(f"{value:.{_DIGITS}g}")
    return value
