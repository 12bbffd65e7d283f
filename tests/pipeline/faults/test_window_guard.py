"""Windows of endless data: what leaves its band, and what does not count afterwards."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.window_guard import WindowGuardConfig
from pipeline.faults.window_guard import WindowGuard
from pipeline.metrics.drift import NUM_BINS, FeatureCounts


def results(ne: float = 0.9, calibration: float = 1.0, positives: float = 1e6) -> dict[str, Any]:
    return {"click": {"ne": ne, "calibration": calibration, "positives": positives}}


def features(share_unknown: float = 0.0, first: int = 100) -> FeatureCounts:
    counts = FeatureCounts(["age"], ["user"], [10])
    counts.bins_FK += 1000
    counts.bins_FK[0, 0] = first
    counts.unknown_S += int(share_unknown * 1000 * NUM_BINS)
    return counts


def ready(**fields: Any) -> WindowGuard:
    guard = WindowGuard(WindowGuardConfig(**fields))
    for _ in range(guard._config.warmup):
        assert not guard.check(results(), features()).breaches
    return guard


def test_each_value_has_a_band() -> None:
    guard = ready()
    assert not guard.check(results(0.98, 1.4), features(0.09)).breaches
    assert [one.metric for one in guard.check(results(ne=1.05), features()).breaches] == ["ne"]
    for factor in (1.7, 0.5):
        found = guard.check(results(calibration=factor), features()).breaches
        assert [(one.metric, one.of) for one in found] == [("calibration", "click")]
    found = guard.check(results(), features(0.3)).breaches
    assert [(one.metric, one.of) for one in found] == [("unknown_rate", "user")]


def test_nothing_is_checked_during_warmup() -> None:
    guard = WindowGuard(WindowGuardConfig(warmup=3))
    assert not any(guard.check(results(ne=ne)).breaches for ne in (0.5, 5.0, 50.0))


def test_few_positives_widen_the_band_of_calibration() -> None:
    guard = ready()
    assert not guard.check(results(calibration=2.5, positives=10), features()).breaches
    assert guard.check(results(calibration=2.5, positives=1000), features()).breaches


def test_a_poisoned_window_does_not_move_the_bands() -> None:
    guard = ready()
    before = guard.state_dict()
    for _ in range(100):
        assert guard.check(results(ne=2.0), features(0.5, first=90_000)).breaches
    assert guard.state_dict() == before


def test_the_feature_that_moved_is_named_first() -> None:
    verdict = ready().check(results(ne=2.0), features(first=90_000))
    assert verdict.moved[0][0] == "age"
    assert verdict.moved[0][1] > 0.25 > verdict.moved[1][1]
    assert "ne of click 2, band 0 to 0.99; PSI age" in str(verdict)


def test_undefined_values_are_left_out() -> None:
    guard = ready()
    undefined = {"click": {"ne": None, "calibration": None, "positives": 0}}
    assert not guard.check(undefined, features()).breaches


@given(st.lists(st.floats(0.5, 1.5), max_size=12), st.lists(st.floats(0.5, 3), max_size=5))
def test_a_resumed_guard_says_the_same(before: list[float], after: list[float]) -> None:
    guard, resumed = (WindowGuard(WindowGuardConfig(windows=4, warmup=2)) for _ in range(2))
    for ne in before:
        guard.check(results(ne), features(first=int(ne * 1000)))
    resumed.load_state_dict(json.loads(json.dumps(guard.state_dict())))
    for ne in after:
        assert resumed.check(results(ne), features()) == guard.check(results(ne), features())
    assert resumed.state_dict() == guard.state_dict()
