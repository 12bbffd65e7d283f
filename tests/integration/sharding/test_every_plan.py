"""Every sharding type and kernel that CPU runs trains as one process does, and takes on any other's
checkpoint.

The one process is plain torch. Where a plan splits columns, each block of them has accumulators of
its own, which is another optimizer than one over whole rows: there the process has the same blocks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import pytest
import torch

from tests.integration.sharding.every_plan import WAYS, Way
from tests.integration.sharding.moves import Run, Saved, State, alone, over_ranks, widths
from tests.integration.sharding.one_process import over_blocks
from tests.ranks import run_ranks

# Two minutes where others use the machine too; no test of a hang.
pytestmark = pytest.mark.timeout(900)
SIZES = (2, 4)
# One for each number of columns that share accumulators.
CUTS = {way.width: way for way in WAYS}
Move = tuple[Saved, Way]
Alone = Mapping[tuple[Way, Way | None], tuple[State, State]]
"""One process by the columns of two plans, after the steps of each; None: see `alone`."""


def form(way: Way) -> tuple[str, bool, bool]:
    """How state lies in memory: by the kernel, as copies or shards, in blocks or whole rows."""
    return way.kernel, way.kind == "data_parallel", way.width is not None


def few_moves(size: int) -> tuple[Move, ...]:
    """On two ranks from every form to every form; on four each plan is left once and taken once,
    every other time from a checkpoint of two ranks."""
    if size == 4:
        turned = WAYS[6:] + WAYS[:6]
        return tuple(
            ((SIZES[n % 2], a), b) for n, (a, b) in enumerate(zip(WAYS, turned, strict=True))
        )
    of_form: dict[tuple[str, bool, bool], list[Way]] = {}
    for way in WAYS:
        of_form.setdefault(form(way), []).append(way)
    # Each time a form comes up, its next plan.
    leave, take = ({name: cycle(ways) for name, ways in of_form.items()} for _ in range(2))
    return tuple(((size, next(leave[a])), next(take[b])) for a in of_form for b in of_form)


def trained(size: int) -> tuple[Way, ...]:
    """Plans that train from the first step. On four ranks those that are left: the others resume
    there from a checkpoint of two."""
    if size == 2:
        return WAYS
    left = {way for (saved, way), _ in few_moves(size) if saved == size} | {*CUTS.values()}
    return tuple(way for way in WAYS if way in left)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans")


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[int, Run]:
    """By number of ranks."""
    found = {
        size: run_ranks(over_ranks, size, folder, trained(size), few_moves(size))[0]
        for size in SIZES
    }
    # One rank: of what four saved.
    whole = Way(kind="table_wise")
    moves = tuple(((4, way), whole) for way in CUTS.values())
    return found | {1: run_ranks(over_ranks, 1, folder, (), moves)[0]}


@pytest.fixture(scope="module")
def one_process() -> Alone:
    pairs = tuple((a, b) for a in CUTS.values() for b in (*CUTS.values(), None))
    return run_ranks(alone, 1, pairs)[0]


def assert_close(found: State, wanted: State, what: str) -> None:
    def close(name: str, a: torch.Tensor, b: torch.Tensor, atol: float) -> None:
        torch.testing.assert_close(
            a, b, rtol=1e-5, atol=atol, msg=lambda text: f"{what}: {name}: {text}"
        )

    close("losses", found.losses, wanted.losses, 1e-6)
    assert found.weights.keys() == wanted.weights.keys() == found.sums.keys()
    for table, weight in wanted.weights.items():
        close(table, found.weights[table], weight, 1e-6)
        sums = wanted.sums[table]
        close(f"{table}'s accumulators", found.sums[table], sums, 1e-5 * float(sums.max()))
    assert wanted.tower
    for name, parameter in wanted.tower.items():
        close(name, found.tower[name], parameter, 1e-5)


@pytest.mark.parametrize(
    ("size", "way"), [(size, way) for size in SIZES for way in trained(size)], ids=str
)
def test_ranks_train_as_one_process(
    size: int,
    way: Way,
    runs: dict[int, Run],
    one_process: Alone,
) -> None:
    wanted, _ = one_process[CUTS[way.width], CUTS[way.width]]
    assert_close(runs[size].trained[way], wanted, str(way))


def check_move(
    move: Move,
    runs: dict[int, Run],
    size: int,
    one_process: Alone,
) -> None:
    (saved_size, first), second = move
    what = f"{saved_size} ranks {first} -> {size} ranks {second}"
    saved, back = runs[saved_size].trained[first], runs[size].back[move]
    for table, weight in saved.weights.items():
        assert torch.equal(back.weights[table], weight), f"{what}: {table}"
        wanted = over_blocks(saved.sums[table].double(), widths(second)[table]).float()
        assert torch.equal(back.sums[table], wanted), f"{what}: {table}'s accumulators"
    for name, value in saved.tower.items():
        assert torch.equal(back.tower[name], value), f"{what}: {name}"
    _, wanted_on = one_process[CUTS[first.width], CUTS[second.width]]
    assert_close(runs[size].on[move], wanted_on, what)


@pytest.mark.parametrize("size", [1, *SIZES])
def test_a_checkpoint_of_any_plan_continues_under_any(
    size: int,
    runs: dict[int, Run],
    one_process: Alone,
) -> None:
    """It comes back bit for bit, but for rounding where blocks are joined, and resumes as one
    process does."""
    for move in runs[size].back:
        check_move(move, runs, size, one_process)


def test_few_moves_are_of_all_forms_and_plans() -> None:
    two, four = few_moves(2), few_moves(4)
    forms = {form(way) for way in WAYS}
    assert {(form(a), form(b)) for (_, a), b in two} == {(a, b) for a in forms for b in forms}
    assert {a for (_, a), _ in four} == {b for _, b in four} == set(WAYS)
    cuts = {(a.width, b.width) for (_, a), b in two + four}
    assert cuts == {(a, b) for a in CUTS for b in CUTS}


def test_the_equality_hangs_on_blocks_and_on_accumulators(one_process: Alone) -> None:
    whole, quarter = CUTS[None], CUTS[4]
    (of_rows, on), (of_quarters, _) = one_process[whole, whole], one_process[quarter, quarter]
    with pytest.raises(AssertionError, match="other blocks"):
        assert_close(of_rows, of_quarters, "other blocks")
    _, forgetful = one_process[whole, None]
    with pytest.raises(AssertionError, match="no accumulators"):
        assert_close(forgetful, on, "no accumulators")


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("size", SIZES if os.environ.get("HOMEREC_ALL_MOVES") else SIZES[:1])
def test_all_moves(size: int, tmp_path: Path, one_process: Alone) -> None:
    """From every plan to every plan; on four ranks, for a quarter of an hour, if
    HOMEREC_ALL_MOVES is set."""
    moves = tuple(((size, a), b) for a in WAYS for b in WAYS)
    run = run_ranks(over_ranks, size, tmp_path, WAYS, moves, timeout=3000)[0]
    assert len(run.on) == len(WAYS) ** 2
    for move in moves:
        check_move(move, {size: run}, size, one_process)
