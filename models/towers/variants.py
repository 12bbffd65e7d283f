"""Names the towers of a comparison: HoME, other architectures, and ablations of HoME."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from models.towers.config import (
    AdattConfig,
    HomeConfig,
    MmoeConfig,
    PleConfig,
    RankMixerConfig,
    SharedBottomConfig,
    SingleTaskConfig,
    SmesConfig,
    TowerConfig,
)

_CARRIED = ("expert_hidden", "expert_dim", "tower_hidden", "dropout")
"""Fields that every variant takes from its base tower."""

_AS_PUBLISHED: Mapping[str, object] = {"normalization": "none", "activation": "relu"}


class Variant(NamedTuple):
    """Defines a named tower relative to a base tower."""

    kind: type[TowerConfig]
    """The config class of the tower."""
    description: str
    """One-line description."""
    changes: Mapping[str, object] = MappingProxyType({})
    """Fields that define the variant."""
    starred: bool = False
    """Whether it has expert normalization and Swish, HoME's first mechanism."""
    ablation: bool = False
    """Whether it is HoME without the mechanism that `changes` disables."""


def _rival(
    name: str, kind: type[TowerConfig], description: str, **changes: object
) -> dict[str, Variant]:
    """Return the variant as published, and the starred one."""
    return {
        name: Variant(kind, description, {**changes, **_AS_PUBLISHED}),
        f"{name}*": Variant(
            kind, f"{description}; with expert normalization and Swish", changes, starred=True
        ),
    }


def _ablation(what: str, description: str, **changes: object) -> dict[str, Variant]:
    variant = Variant(
        HomeConfig, f"HoME without {description}", changes, starred=True, ablation=True
    )
    return {f"home-no_{what}": variant}


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "home": Variant(HomeConfig, "Hierarchy of Multi-Gate Experts", starred=True),
        **_rival("mmoe", MmoeConfig, "Multi-gate Mixture-of-Experts"),
        **_rival("cgc", PleConfig, "Customized Gate Control, PLE of one level", num_levels=1),
        **_rival("ple", PleConfig, "Progressive Layered Extraction, two levels or more"),
        **_rival("adatt", AdattConfig, "Adaptive Task-to-Task Fusion"),
        **_rival("smes", SmesConfig, "sparse experts, chosen for all tasks and for each"),
        "rankmixer": Variant(RankMixerConfig, "token mixing, and a network for each token"),
        **_rival("shared_bottom", SharedBottomConfig, "one network for all tasks"),
        **_rival("single_task", SingleTaskConfig, "a separate network for each task"),
        **_ablation("normalization", "expert normalization and Swish", **_AS_PUBLISHED),
        **_ablation("hierarchy_mask", "the hierarchy mask", hierarchy_mask=False),
        **_ablation("feature_gate_1", "the feature-gates of level 1", feature_gate_1=False),
        **_ablation("feature_gate_2", "the feature-gates of level 2", feature_gate_2=False),
        **_ablation("feature_gates", "feature-gates", feature_gate_1=False, feature_gate_2=False),
        **_ablation("self_gate", "self-gates", self_gate=False),
    }
)
"""Name -> tower, in the order of tables."""


def variant(name: str, base: TowerConfig) -> TowerConfig:
    """Return the tower called `name`, as similar to `base` as possible.

    Widths and dropout are those of `base`, and all other fields, too, if `base` is of the same
    kind. 'home' is then `base` itself.

    Other architectures have neither normalization nor Swish, as in their papers. Starred ones (and
    HoME, if `base` is not a HoME) have Swish and the normalization of `base`, or batch
    normalization if it has none; SMES has layer normalization, because it has no other. RankMixer
    has its own, and a width rounded up to a multiple of its tokens.

    Raises:
        ValueError: an unknown name, or an ablation of a mechanism that `base` does not have.
    """
    if name not in VARIANTS:
        raise ValueError(f"unknown tower {name!r}; known: {', '.join(VARIANTS)}")
    chosen = VARIANTS[name]
    fields: dict[str, object] = {field: getattr(base, field) for field in _CARRIED}
    if base.kind == chosen.kind.model_fields["kind"].default:
        fields = dict(base)
    if chosen.starred and not (chosen.kind is HomeConfig and base.kind == "home"):
        normalization = base.normalization if base.normalization != "none" else "batch"
        if chosen.kind is SmesConfig:
            normalization = "layer"
        fields |= {"normalization": normalization, "activation": "swish"}
    if fields.get("num_levels") == 1 and name in ("ple", "ple*"):
        fields["num_levels"] = 2  # one level is CGC
    if chosen.kind is RankMixerConfig:
        fields = _with_heads(fields)
    result = chosen.kind.model_validate(fields | dict(chosen.changes))
    if chosen.ablation and result == variant("home", base):
        raise ValueError(f"{name}: the tower has no {name.removeprefix('home-no_')} to remove")
    return result


def _with_heads(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of a RankMixer with a width that splits into heads."""
    plain = RankMixerConfig()
    heads, dim = fields.get("num_tokens", plain.num_tokens), fields["expert_dim"]
    assert isinstance(heads, int)
    assert isinstance(dim, int)
    return {**fields, "expert_dim": -(-dim // heads) * heads}
