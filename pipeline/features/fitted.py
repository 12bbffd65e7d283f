"""What a feature program learns from the training rows: vocabularies, quantiles, means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

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
