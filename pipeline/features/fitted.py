"""What a feature program learns from the training rows: vocabularies, quantiles, means."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.features.config import FeatureConfig
from pipeline.features.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Standard:
    """Mean and standard deviation of a number after its transforms."""

    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """Fitted values, by table or feature."""

    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)
    """By table; ids are text."""
    edges: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """By feature with quantiles: lower limits of all ranges but the first, ascending."""
    standards: Mapping[str, Standard] = field(default_factory=dict)
    """By number."""

    def digest(self, features: Mapping[str, FeatureConfig]) -> str:
        """Return a digest that is equal if `features` have the same meaning, fitted values too."""
        parts = [
            [(name, one.model_dump(mode="json")) for name, one in features.items()],
            sorted((name, one.fingerprint) for name, one in self.vocabularies.items()),
            sorted((name, one.tolist()) for name, one in self.edges.items()),
            sorted((name, one.mean, one.std) for name, one in self.standards.items()),
        ]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
