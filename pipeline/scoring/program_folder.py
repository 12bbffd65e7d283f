"""The feature program of a model folder: what columns mean, and what was fitted to them.

features/features.json          features by name, means, deviations, limits of ranges
features/vocab/TABLE.parquet    vocabularies
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import ValidationError

from embeddings.frozen import Frozen
from pipeline.features.config import FeatureConfig
from pipeline.features.fitted import Fitted, Standard
from pipeline.features.vocabulary import Vocabulary
from pipeline.io.errors import UserError
from pipeline.io.files import read_text, write_text
from pipeline.io.typed_json import fault
from pipeline.scoring.encode import Encoder

FOLDER = "features"
_FILE = "features.json"


class _Features(Frozen):
    version: Literal[1] = 1
    features: Mapping[str, FeatureConfig]
    standards: Mapping[str, tuple[float, float]]
    edges: Mapping[str, tuple[float, ...]]
    tables: tuple[str, ...]
    """Tables with a vocabulary."""


def save_program(model: Path, features: Mapping[str, FeatureConfig], fitted: Fitted) -> None:
    """Write the features that a model uses, and their fitted values."""
    folder = model / FOLDER
    (folder / "vocab").mkdir(parents=True)
    used = {one.table or name for name, one in features.items()}
    vocabularies = {name: one for name, one in fitted.vocabularies.items() if name in used}
    for vocabulary in vocabularies.values():
        vocabulary.save(folder / "vocab")
    found = _Features(
        features=features,
        standards={
            name: (one.mean, one.std) for name, one in fitted.standards.items() if name in features
        },
        edges={name: tuple(one.tolist()) for name, one in fitted.edges.items() if name in features},
        tables=tuple(vocabularies),
    )
    write_text(folder / _FILE, found.model_dump_json(indent=1) + "\n")


def load_program(model: Path) -> Encoder:
    """Load the program. Raises UserError if it is damaged."""
    folder = model / FOLDER
    path = folder / _FILE
    try:
        found = _Features.model_validate_json(read_text(path, remedy="export the model again"))
    except ValidationError as error:
        raise UserError(f"{path}: {fault(error)}; export the model again") from error
    fitted = Fitted(
        {name: Vocabulary.load(folder / "vocab", name, pl.String) for name in found.tables},
        {name: np.array(one, dtype=np.float32) for name, one in found.edges.items()},
        {name: Standard(*one) for name, one in found.standards.items()},
    )
    return Encoder(found.features, fitted)
