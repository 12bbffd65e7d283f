"""Configuration of layers. Does not import torch: build() imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from models.frozen import Frozen

if TYPE_CHECKING:
    from models.layers.attention import Attention

Normalization = Literal["batch", "layer", "none"]
Activation = Literal["swish", "relu"]


Width = Annotated[int, Field(ge=1, le=2**16)]


class ExpertConfig(Frozen):
    """Sizes and layers of experts and task towers: the fields of every tower."""

    expert_hidden: tuple[Width, ...] = (256,)
    """Widths of an expert's hidden layers."""
    expert_dim: Width = 128
    """Width of an expert's output."""
    tower_hidden: tuple[Width, ...] = (64,)
    """Widths of the hidden layers of a task's tower."""
    normalization: Normalization = "none"
    """Normalization in each expert layer: over the global batch, over the layer, or none."""
    activation: Activation = "relu"
    """Activation after each layer of experts and task towers, except before the logit."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout probability after each expert layer."""


class AttentionConfig(Frozen):
    """Target attention: histories pooled for each candidate."""

    events: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """Histories to pool, per kind of event (any name): maps each history, a multi-valued feature,
    to the candidate's single-valued feature of the same table. The n-th values of one kind's
    histories belong to the same event. Example: --model.attention.events.click.hist_video video_id.
    Empty: no attention."""
    hidden: Width = 32
    """Hidden units of the network that scores an event against the candidate."""
    bags: bool = False
    """Whether the tower's input also contains these histories as plain bags."""

    @field_validator("events")
    @classmethod
    def _not_empty(cls, value: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
        for event, pairs in value.items():
            if not pairs:
                raise ValueError(f"event {event!r} has no history; give one, or remove it")
        return value

    @property
    def histories(self) -> list[str]:
        """All histories, without duplicates."""
        return list(dict.fromkeys(name for pairs in self.events.values() for name in pairs))

    def build(self, dim: int) -> Attention:
        """Build the attention for features of width `dim`."""
        from models.layers.attention import Attention

        return Attention(self, dim)
