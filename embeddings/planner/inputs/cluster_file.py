"""Writes a cluster as a YAML file for `load_cluster`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from embeddings.planner.inputs.cluster import Cluster
from embeddings.planner.inputs.files import validate

# More digits than any measurement.
_DIGITS = 5


def rounded(cluster: Cluster) -> Cluster:
    """Round a cluster so that it equals what `load_cluster` reads back from `cluster_yaml`."""
    return validate(Cluster, _short(cluster.model_dump(mode="json")), cluster.name)


def cluster_yaml(cluster: Cluster, notes: Sequence[str]) -> str:
    """Return the text of the file, with `notes` as comments."""
    tree = _short(rounded(cluster).model_dump(mode="json", exclude_none=True))
    head = "".join(f"# {line}\n" for line in notes)
    return head + yaml.safe_dump(tree, sort_keys=False, width=1_000)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    if isinstance(value, float):
        # YAML 1.1 reads '1e-05' as text, so PyYAML writes 1.0e-05, which it reads as a number.
        return float(f"{value:.{_DIGITS}g}")
    return value
