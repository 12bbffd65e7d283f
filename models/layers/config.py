"""Configuration of layers. Free of torch: build() imports it late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from models.frozen import Frozen

if TYPE_CHECKING:
    from models.layers.attention import Attention

Normalisation = Literal["batch", "layer", "none"]
Activation = Literal["swish", "relu"]


Width = Annotated[int, Field(ge=1, le=2**16)]


class ExpertConfig(Frozen):
    """Sizes and layers of experts and task towers: the fields that every tower has."""

    expert_hidden: tuple[Width, ...] = (256,)
    """Widths of an expert's hidden layers."""
    expert_dim: Width = 128
    """Width of an expert's output."""
    tower_hidden: tuple[Width, ...] = (64,)
    """Widths of the hidden layers of a task's tower."""
    normalisation: Normalisation = "none"
    """Normalisation in each expert layer: over the global batch, over the layer, or none."""
    activation: Activation = "relu"
    """Activation after each layer of experts and task towers, except before the logit."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout probability after each expert layer."""


class AttentionConfig(Frozen):
    """Target attention: histories pooled for each candidate."""

    events: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """Histories to pool, per kind of event (any name): each history, a multi-valued feature, with
    the single-valued feature of the candidate that shares its table. The n-th values of one kind's
    histories belong to the same event. Example: --model.attention.events.click.hist_video video_id.
    Without any: no attention."""
    hidden: Width = 32
    """Hidden units of the network that scores an event against the candidate."""
    bags: bool = False
    """Whether these histories also enter the tower as plain bags."""

    @field_validator("events")
    @classmethod
    def _not_empty(cls, value: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
        for event, pairs in value.items():
            if not pairs:
                raise ValueError(f"event {event!r} has no history; name one, or remove it")
        return value

    @property
    def histories(self) -> list[str]:
        """All histories, each once."""
        return list(dict.fromkeys(name for pairs in self.events.values() for name in pairs))

    def build(self, dim: int) -> Attention:
        """For features `dim` wide each."""
        from models.layers.attention import Attention

        return Attention(self, dim)
