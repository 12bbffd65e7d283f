"""HoME's wiring, its switches, and its probes."""

import shutil

import pytest
import torch
from torch import Tensor

from models.probe import probing
from models.towers.config import HomeConfig
from models.towers.home import HoME
from models.towers.level import Level
from tests.models.building import TASKS, build, perturb, rows, small_home

CATEGORY = {task.name: task.category for task in TASKS}


def home(**changes: object) -> HoME:
    tower = perturb(build(small_home(**changes)))
    assert isinstance(tower, HoME)
    return tower


def gradients(tower: HoME, task: str) -> dict[str, float]:
    """Part of the tower -> largest absolute gradient of one task's logits on it."""
    tower.zero_grad()
    column = [t.name for t in TASKS].index(task)
    tower(rows(9))[:, column].square().sum().backward()
    found: dict[str, float] = {}

    def note(name: str, *grads: Tensor | None) -> None:
        for grad in grads:
            assert grad is not None
            largest = grad.abs().max().item()
            found[name] = max(found.get(name, 0.0), largest)

    for level in (tower.level1, tower.level2):
        assert level.feature_gates is not None
        for e, name in enumerate(level.experts.names):
            for parameter in level.experts.parameters():
                assert parameter.grad is not None
                note(name, parameter.grad[e])
            gates = level.feature_gates
            assert gates.up.grad is not None
            note(f"mask of {name}", gates.up.grad[:, e])
            for parameter in (gates.down.weight, gates.mixing_bias):
                assert parameter.grad is not None
                note(f"mask of {name}", parameter.grad[e])
        note_gates(level, found)
    for t, name in enumerate(tower.towers.names):
        for parameter in tower.towers.parameters():
            assert parameter.grad is not None
            note(f"tower.{name}", parameter.grad[t])
    return found


def note_gates(level: Level, found: dict[str, float]) -> None:
    assert level.gates.weight.grad is not None
    start = 0
    for gate in level.gates.gates:
        end = start + len(gate.experts) * len(gate.inputs)
        found[gate.name] = level.gates.weight.grad[start:end].abs().max().item()
        start = end


def reached(name: str, task: str, *, hierarchy_mask: bool) -> bool:
    """Whether the wiring lets a loss of `task` reach a part."""
    name = name.removeprefix("mask of ")
    kind, _, rest = name.partition(".")
    if kind == "tower":
        return rest == task
    if kind == "meta":
        gate, _, group = rest.partition(".")
        # All meta experts, by way of z_shared; of z of categories only its own, unless the
        # task sees the level-2 experts of the others.
        is_gate = gate in ("gate", "self_gate")
        return not is_gate or group in ("shared", CATEGORY[task]) or not hierarchy_mask
    part, _, rest = rest.partition(".")
    if part in ("gate", "self_gate"):
        return rest == task
    if part == "global" or not hierarchy_mask:
        return True
    owner = rest.rpartition(".")[0]
    return owner == (CATEGORY[task] if part == "category" else task)


@pytest.mark.parametrize("hierarchy_mask", [True, False], ids=["masked", "unmasked"])
@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_a_loss_reaches_what_the_wiring_lets_it_see_and_no_more(
    task: str, hierarchy_mask: bool
) -> None:
    found = gradients(home(hierarchy_mask=hierarchy_mask, num_task_specific_experts=2), task)
    assert {name.removeprefix("mask of ").split(".")[0] for name in found} == {
        "meta",
        "level2",
        "tower",
    }
    for name, largest in found.items():
        assert (largest != 0) == reached(name, task, hierarchy_mask=hierarchy_mask), name


def test_other_categories_reach_meta_experts_through_the_shared_output() -> None:
    """A watch loss does train the interact meta experts: that is intended."""
    assert gradients(home(), "click")["meta.interact.0"] > 0


@pytest.mark.parametrize("own", [1, 3])
def test_probe_shows_experts_and_gates(own: int) -> None:
    tower = home(num_task_specific_experts=own)
    with probing(tower) as probe:
        logits = tower(rows(9))
    torch.testing.assert_close(logits, tower(rows(9)))

    meta = {f"meta.{group}.{i}" for group in ("shared", "watch", "interact") for i in (0, 1)}
    shared = {f"level2.global.{i}" for i in (0, 1)}
    category = {c: {f"level2.category.{c}.{i}" for i in (0, 1)} for c in ("watch", "interact")}
    owned = {t.name: {f"level2.task_specific.{t.name}.{i}" for i in range(own)} for t in TASKS}
    assert set(probe.experts) == meta | shared.union(*category.values(), *owned.values())
    assert all(output.shape == (9, 5) for output in probe.experts.values())

    assert set(probe.gates) == set(probe.self_gates) == set(CATEGORY)
    for name, kind in CATEGORY.items():
        assert set(probe.gates[name]) == shared | category[kind] | owned[name]
        assert set(probe.self_gates[name]) == owned[name]
    assert set(probe.meta_gates["shared"]) == meta
    assert set(probe.meta_gates["watch"]) == {n for n in meta if "interact" not in n}
    assert set(probe.meta_self_gates["watch"]) == {"meta.watch.0", "meta.watch.1"}

    one = torch.ones(9).double()
    for weights in (*probe.gates.values(), *probe.meta_gates.values()):
        torch.testing.assert_close(torch.stack([*weights.values()]).sum(0), one)
    for weights in (*probe.self_gates.values(), *probe.meta_self_gates.values()):
        total = torch.stack([*weights.values()]).sum(0)
        if len(weights) > 1:
            torch.testing.assert_close(total, one)
        else:  # a sigmoid, as a softmax of one expert would always be 1
            assert (total < 1).all()


def test_probe_explains_what_a_task_mixed() -> None:
    """Gates times experts, plus self-gates times experts, is what the tower reads."""
    tower = home().eval()
    with probing(tower) as probe:
        logits = tower(rows(9))
    mixed = []
    for name in tower.towers.names:
        y = torch.zeros(9, 5).double()
        for gates in (probe.gates[name], probe.self_gates[name]):
            for expert, weight in gates.items():
                y = y + weight[:, None] * probe.experts[expert]
        mixed.append(y)
    torch.testing.assert_close(tower.towers(torch.stack(mixed)), logits)


SWITCHES: dict[str, tuple[dict[str, object], set[str]]] = {
    "normalization": ({"normalization": "none"}, {"norm"}),
    "hierarchy mask": ({"hierarchy_mask": False}, {"gates"}),
    "feature-gate 1": ({"feature_gate_1": False}, {"feature_gates"}),
    "feature-gate 2": ({"feature_gate_2": False}, {"feature_gates"}),
    "self-gate": ({"self_gate": False}, {"gates"}),
}


@pytest.mark.parametrize(("changes", "parts"), SWITCHES.values(), ids=SWITCHES.keys())
def test_each_mechanism_switches_off_alone(changes: dict[str, object], parts: set[str]) -> None:
    """What remains keeps its shape, and except for gates that see others now, its weights."""
    full, ablated = build(small_home()).state_dict(), build(small_home(**changes)).state_dict()
    differing = {
        name
        for name in full.keys() | ablated.keys()
        if name not in full or name not in ablated or not torch.equal(full[name], ablated[name])
    }
    assert differing
    for name in differing:
        assert parts & set(name.split(".")), name


def test_self_gates_switched_off_leave_the_mixing_gates_as_they_were() -> None:
    full, ablated = (
        build(small_home()).state_dict(),
        build(small_home(self_gate=False)).state_dict(),
    )
    for level in ("level1", "level2"):
        mixing = ablated[f"{level}.gates.weight"]
        assert torch.equal(full[f"{level}.gates.weight"][: len(mixing)], mixing)


def test_feature_gates_start_as_if_they_were_not_there() -> None:
    with_, without = (
        build(small_home()),
        build(small_home(feature_gate_1=False, feature_gate_2=False)),
    )
    torch.testing.assert_close(with_(rows(9)), without(rows(9)))


def test_defaults_are_the_start_sizes() -> None:
    """Of the design page: 2 meta experts a group, level 2 with 2, 2 and 1, 256 and 128 wide."""
    config = HomeConfig()
    assert (config.num_meta_experts, config.num_global_experts) == (2, 2)
    assert (config.num_category_experts, config.num_task_specific_experts) == (2, 1)
    assert (config.expert_hidden, config.expert_dim, config.tower_hidden) == ((256,), 128, (64,))
    assert (config.num_masks, config.mask_rank) == (2, 16)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile on CPU needs a C++ compiler")
def test_compiles_to_one_graph() -> None:
    torch._dynamo.reset()
    tower = home().float()
    compiled = torch.compile(tower, fullgraph=True)
    v = rows(40).float()
    logits, expected = compiled(v), tower(v)
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)
    weights = [*tower.parameters()]
    gradients = torch.autograd.grad(logits.square().mean(), weights)
    expected_gradients = torch.autograd.grad(expected.square().mean(), weights)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-3, atol=1e-4)
