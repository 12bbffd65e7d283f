"""Configurations of every tower that tests run through."""

from models.tasks import Task
from models.towers.config import (
    AdattConfig,
    MmoeConfig,
    PleConfig,
    RankMixerConfig,
    SharedBottomConfig,
    SingleTaskConfig,
    SmesConfig,
    TowerConfig,
)
from tests.models.building import (
    CLICK,
    LIKE,
    SMALL,
    TASKS,
    small_home,
)

STARRED = SMALL | {"normalization": "batch", "activation": "swish"}


CONFIGS: dict[str, TowerConfig] = {
    "home": small_home(),
    "home, ReLU without normalization": small_home(normalization="none", activation="relu"),
    "home, layer norm": small_home(normalization="layer"),
    "home, ReLU": small_home(activation="relu"),
    "home without hierarchy mask": small_home(hierarchy_mask=False),
    "home without feature-gate 1": small_home(feature_gate_1=False),
    "home without feature-gate 2": small_home(feature_gate_2=False),
    "home, feature-gate per group": small_home(feature_gate_per="group"),
    "home without self-gate": small_home(self_gate=False),
    "home, deeper": small_home(expert_hidden=(6, 4), tower_hidden=(5, 3)),
    "home, shallow": small_home(expert_hidden=(), tower_hidden=()),
    "home, single experts": small_home(
        num_meta_experts=1, num_global_experts=1, num_category_experts=1
    ),
    "home, many task-specific experts": small_home(num_task_specific_experts=3, num_masks=1),
    "mmoe": MmoeConfig.model_validate(SMALL),
    "mmoe*": MmoeConfig.model_validate(STARRED),
    "cgc": PleConfig.model_validate(SMALL | {"num_levels": 1}),
    "ple*": PleConfig.model_validate(STARRED),
    "ple, deeper": PleConfig.model_validate(
        SMALL | {"num_levels": 3, "num_task_specific_experts": 2}
    ),
    "adatt": AdattConfig.model_validate(SMALL),
    "adatt*, several of all": AdattConfig.model_validate(
        STARRED | {"num_task_specific_experts": 2, "num_shared_experts": 3}
    ),
    "adatt-sp": AdattConfig.model_validate(
        SMALL | {"num_task_specific_experts": 2, "num_shared_experts": 0}
    ),
    "adatt-sp*, task-specific experts alone": AdattConfig.model_validate(
        STARRED | {"num_shared_experts": 0}
    ),
    "adatt, deeper": AdattConfig.model_validate(
        SMALL | {"num_levels": 3, "num_task_specific_experts": 3}
    ),
    "adatt, one level": AdattConfig.model_validate(SMALL | {"num_levels": 1}),
    "smes": SmesConfig.model_validate(SMALL),
    "smes*, layer norm": SmesConfig.model_validate(
        SMALL | {"num_experts": 6, "normalization": "layer", "activation": "swish"}
    ),
    "smes, nothing for all": SmesConfig.model_validate(
        SMALL | {"num_experts": 5, "shared_top_k": 0, "task_top_k": 2}
    ),
    "smes, nothing of a task": SmesConfig.model_validate(
        SMALL | {"num_experts": 5, "shared_top_k": 2, "task_top_k": 0}
    ),
    "smes, all experts": SmesConfig.model_validate(
        SMALL | {"num_experts": 4, "shared_top_k": 1, "task_top_k": 3}
    ),
    "smes, one expert": SmesConfig.model_validate(
        SMALL | {"num_experts": 1, "shared_top_k": 1, "task_top_k": 0}
    ),
    "smes, deeper": SmesConfig.model_validate(
        SMALL | {"expert_hidden": (6, 4), "tower_hidden": (), "num_experts": 7, "task_top_k": 2}
    ),
    "rankmixer": RankMixerConfig(expert_hidden=(5,), expert_dim=6, num_tokens=3, tower_hidden=(4,)),
    "rankmixer, deeper": RankMixerConfig(
        expert_hidden=(5, 4), expert_dim=8, num_tokens=4, num_layers=3, tower_hidden=()
    ),
    "rankmixer, shallow": RankMixerConfig(
        expert_hidden=(), expert_dim=6, num_tokens=1, num_layers=1, activation="relu"
    ),
    "shared bottom": SharedBottomConfig.model_validate(SMALL),
    "shared bottom*": SharedBottomConfig.model_validate(STARRED),
    "single task": SingleTaskConfig.model_validate(SMALL),
    "single task*": SingleTaskConfig.model_validate(STARRED),
}


KINDS = [
    "home",
    "mmoe*",
    "ple*",
    "adatt*, several of all",
    "adatt-sp",
    "smes",
    "smes*, layer norm",
    "rankmixer",
    "shared bottom*",
    "single task*",
]


TASK_LISTS = {
    "two categories, interleaved": TASKS,
    "one task": (CLICK,),
    "one category": (CLICK, Task(name="finish", category="watch")),
    "one task in each": (LIKE, CLICK),
    "names of attributes": (
        Task(name="train", category="forward"),
        Task(name="forward", category="weight"),
        Task(name="a.b", category="a.b.0"),
        Task(name="bias", category="forward"),
    ),
    "many": tuple(Task(name=f"t{i}", category=f"c{i % 5}") for i in range(17)),
}
