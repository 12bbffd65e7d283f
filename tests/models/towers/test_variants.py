"""The named towers of a comparison."""

import pytest
import torch

from models.towers.config import (
    AdattConfig,
    HomeConfig,
    MmoeConfig,
    PleConfig,
    SharedBottomConfig,
    SingleTaskConfig,
    SmesConfig,
    TowerConfig,
)
from models.towers.variants import VARIANTS, variant
from tests.models.building import SMALL, TASKS, build, perturb, rows, small_home
from tests.models.reference.build import reference
from tests.models.reference.parts import gradient

RIVALS = ("mmoe", "cgc", "ple", "adatt", "smes", "shared_bottom", "single_task")
ABLATIONS: dict[str, dict[str, object]] = {
    "home-no_normalization": {"normalization": "none", "activation": "relu"},
    "home-no_hierarchy_mask": {"hierarchy_mask": False},
    "home-no_feature_gate_1": {"feature_gate_1": False},
    "home-no_feature_gate_2": {"feature_gate_2": False},
    "home-no_feature_gates": {"feature_gate_1": False, "feature_gate_2": False},
    "home-no_self_gate": {"self_gate": False},
}
BASES: dict[str, TowerConfig] = {
    "home": HomeConfig(expert_hidden=(6,), expert_dim=5, tower_hidden=(4,), dropout=0.25),
    "home of other sizes": HomeConfig(
        normalization="layer", num_task_specific_experts=3, mask_rank=2, feature_gate_per="group"
    ),
    "plain home": HomeConfig(normalization="none", activation="relu"),
    "mmoe": MmoeConfig(num_experts=3, expert_dim=7),
    "cgc": PleConfig(num_levels=1, num_task_specific_experts=4),
    "ple": PleConfig(num_levels=3),
    "adatt": AdattConfig(num_shared_experts=0, normalization="layer"),
    "smes": SmesConfig(num_experts=5, task_top_k=2, load_balancing_weight=0.1),
    "shared bottom": SharedBottomConfig(tower_hidden=()),
    "single task": SingleTaskConfig(expert_hidden=(9, 8), activation="swish"),
}


def test_names_are_those_of_the_study() -> None:
    starred = [f"{name}*" for name in RIVALS]
    assert set(VARIANTS) == {"home", "rankmixer", *RIVALS, *starred, *ABLATIONS}
    assert all(chosen.description for chosen in VARIANTS.values())
    assert [name for name, chosen in VARIANTS.items() if chosen.ablation] == [*ABLATIONS]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_equals_its_naive_form(name: str, training: bool) -> None:
    """In float64: logits, and gradients of features and of all weights."""
    tower = perturb(build(variant(name, small_home(num_task_specific_experts=2)))).train(training)
    naive = reference(tower, TASKS)
    v, v_naive = rows(9).requires_grad_(), rows(9).requires_grad_()
    logits, expected = tower(v), naive(v_naive)
    torch.testing.assert_close(logits, expected)
    logits.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(v.grad, v_naive.grad)
    for source, index, parameter in naive.links:
        assert source.grad is not None
        torch.testing.assert_close(source.grad[index], gradient(parameter))


@pytest.mark.parametrize("base", BASES.values(), ids=BASES.keys())
@pytest.mark.parametrize("name", ["home", *RIVALS, *(f"{name}*" for name in RIVALS)])
def test_widths_and_dropout_carry_over(name: str, base: TowerConfig) -> None:
    config = variant(name, base)
    assert config.kind == name.rstrip("*").replace("cgc", "ple")
    for field in ("expert_hidden", "expert_dim", "tower_hidden", "dropout"):
        assert getattr(config, field) == getattr(base, field)


@pytest.mark.parametrize("base", BASES.values(), ids=BASES.keys())
@pytest.mark.parametrize("name", RIVALS)
def test_rivals_are_plain_and_starred_ones_normalized(name: str, base: TowerConfig) -> None:
    plain, starred = variant(name, base), variant(f"{name}*", base)
    assert (plain.normalization, plain.activation) == ("none", "relu")
    expected = "layer" if "layer" in (base.normalization, name == "smes" and "layer") else "batch"
    assert (starred.normalization, starred.activation) == (expected, "swish")
    same = {"normalization": "none", "activation": "relu"}
    assert starred.model_copy(update=same) == plain


def test_home_is_the_base_itself_if_that_is_one() -> None:
    for name, base in BASES.items():
        if "home" in name:
            assert variant("home", base) == base
    assert variant("home", MmoeConfig(normalization="layer")) == HomeConfig(normalization="layer")
    assert variant("home", MmoeConfig()) == HomeConfig()


@pytest.mark.parametrize("base", ["home", "home of other sizes"])
@pytest.mark.parametrize(("name", "changes"), ABLATIONS.items(), ids=ABLATIONS.keys())
def test_an_ablation_changes_its_mechanism_alone(
    name: str, changes: dict[str, object], base: str
) -> None:
    assert variant(name, BASES[base]) == BASES[base].model_copy(update=changes)


def test_sizes_carry_over_within_a_kind() -> None:
    assert variant("mmoe*", MmoeConfig(num_experts=3)).model_dump()["num_experts"] == 3
    adatt = variant("adatt", AdattConfig(num_levels=3, num_shared_experts=0))
    assert adatt == AdattConfig(num_levels=3, num_shared_experts=0)


@pytest.mark.parametrize("star", ["", "*"])
def test_cgc_is_one_level_and_ple_more(star: str) -> None:
    for levels, expected in [(1, 2), (2, 2), (3, 3)]:
        base = PleConfig.model_validate(
            SMALL | {"num_levels": levels, "num_task_specific_experts": 3}
        )
        ple, cgc = variant(f"ple{star}", base), variant(f"cgc{star}", base)
        assert isinstance(ple, PleConfig)
        assert isinstance(cgc, PleConfig)
        assert (ple.num_levels, cgc.num_levels) == (expected, 1)
        assert ple.num_task_specific_experts == cgc.num_task_specific_experts == 3
    assert variant("ple", HomeConfig()) == PleConfig()


def test_unknown_names_are_rejected_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown tower 'mmeo'") as error:
        variant("mmeo", HomeConfig())
    assert all(name in str(error.value) for name in VARIANTS)
    assert "\n" not in str(error.value)


def test_there_is_no_ablation_of_what_is_not_there() -> None:
    """It would be HoME twice, and a difference of nothing would look like a finding."""
    with pytest.raises(ValueError, match="home-no_self_gate: the tower has no self_gate"):
        variant("home-no_self_gate", HomeConfig(self_gate=False))
    with pytest.raises(ValueError, match="home-no_normalization: the tower has no normalization"):
        variant("home-no_normalization", BASES["plain home"])
