"""Stand-in until the branch of the towers is merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.home import HomeConfig
from models.mmoe import MmoeConfig
from models.ple import PleConfig
from models.shared_bottom import SharedBottomConfig
from models.single_task import SingleTaskConfig
from models.towers import TowerConfig


def _plain(
    kind: type, star: bool = False, **fields: object
) -> Callable[[TowerConfig], TowerConfig]:
    def made(base: TowerConfig) -> TowerConfig:
        norm = {"normalisation": "layer", "activation": "swish"} if star else {}
        sizes = {n: getattr(base, n) for n in ("expert_hidden", "expert_dim", "tower_hidden")}
        return kind(**sizes, **norm, **fields)

    return made


def _home(**fields: object) -> Callable[[TowerConfig], TowerConfig]:
    def made(base: TowerConfig) -> TowerConfig:
        start = base if isinstance(base, HomeConfig) else HomeConfig()
        return start.model_copy(update=fields)

    return made


VARIANTS: Mapping[str, Callable[[TowerConfig], TowerConfig]] = {
    "home": _home(),
    "mmoe": _plain(MmoeConfig),
    "mmoe*": _plain(MmoeConfig, True),
    "cgc": _plain(PleConfig, num_levels=1),
    "cgc*": _plain(PleConfig, True, num_levels=1),
    "ple": _plain(PleConfig),
    "ple*": _plain(PleConfig, True),
    "shared_bottom": _plain(SharedBottomConfig),
    "shared_bottom*": _plain(SharedBottomConfig, True),
    "single_task": _plain(SingleTaskConfig),
    "single_task*": _plain(SingleTaskConfig, True),
    "home-no_hierarchy_mask": _home(hierarchy_mask=False),
    "home-no_feature_gate_1": _home(feature_gate_1=False),
    "home-no_feature_gate_2": _home(feature_gate_2=False),
    "home-no_feature_gates": _home(feature_gate_1=False, feature_gate_2=False),
    "home-no_self_gate": _home(self_gate=False),
    "home-no_normalisation": _home(normalisation="none", activation="relu"),
}


def variant(name: str, base: TowerConfig) -> TowerConfig:
    return VARIANTS[name](base)
