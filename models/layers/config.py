"""Configuration of layers. No torch here: build() imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

if TYPE_CHECKING:
    from models.layers.attention import Attention

Normalisation = Literal["batch", "layer", "none"]
Activation = Literal["swish", "relu"]


class ExpertConfig(BaseModel):
    """What experts and task towers are like; the fields that the configs of all towers share."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    expert_hidden: tuple[PositiveInt, ...] = (256,)
    """Widths of an expert's hidden layers."""
    expert_dim: int = Field(128, ge=1)
    """Width of an expert's output, D."""
    tower_hidden: tuple[PositiveInt, ...] = (64,)
    """Widths of the hidden layers between what a task mixed and its logit."""
    normalisation: Normalisation = "none"
    """Of each expert layer: over the batch (of all ranks), over the layer, or none."""
    activation: Activation = "relu"
    """After each layer of experts and task towers, except before the logit."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the outputs of each expert layer set to zero in training, the others scaled by
    1 / (1 - dropout); 0 for none. Each expert, row and unit for itself."""


class AttentionConfig(BaseModel):
    """Histories that are pooled anew for each candidate."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    events: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """By a name of your own for a kind of event: its histories (multi-valued features whose n-th
    values are of the same event) and for each the single-valued feature of the candidate, of the
    same table: click.hist_video video_id; none: no attention."""
    hidden: int = Field(default=32, ge=1)
    """Units of the net that scores an event against the candidate."""
    bags: bool = False
    """Whether these histories also stay in the tower's input as plain bags."""

    @field_validator("events")
    @classmethod
    def _not_empty(cls, value: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
        for event, pairs in value.items():
            if not pairs:
                raise ValueError(f"event {event!r} has no history; name one, or leave it out")
        return value

    @property
    def histories(self) -> list[str]:
        """All histories, each once."""
        return list(dict.fromkeys(name for pairs in self.events.values() for name in pairs))

    def build(self, dim: int) -> Attention:
        """For features `dim` wide each."""
        from models.layers.attention import Attention

        return Attention(self, dim)
