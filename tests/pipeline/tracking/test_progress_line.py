"""A line of progress is written and read back as the same thing."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tracking.progress_line import PROGRESS_LINE, duration_text, progress_line, speed_text


def test_the_line_is_as_agreed() -> None:
    line = progress_line("train", 120, 400, samples_per_s=14_210, loss=0.512, eta_s=20.4)
    assert line == (
        "train  30%|######              | 120/400 steps  14.2k samples/s  loss 0.5120  eta 0:20"
    )


@settings(deadline=None)
@given(
    st.integers(1, 10**7),
    st.floats(0, 1),
    st.floats(0, 1e9),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0, 1e6),
)
def test_what_is_written_is_read(
    total: int, share: float, speed: float, loss: float, eta: float
) -> None:
    step = int(total * share)
    line = progress_line("train", step, total, samples_per_s=speed, loss=loss, eta_s=eta)
    match = PROGRESS_LINE.fullmatch(line)
    assert match is not None
    assert (int(match["step"]), int(match["total"])) == (step, total)
    assert (int(match["percent"]) == 100) == (step == total)
    assert len(match["bar"]) == 20


@pytest.mark.parametrize(
    ("value", "text"), [(950, "950"), (14_210, "14.2k"), (1_254_000, "1.25M"), (0.5, "0.5")]
)
def test_speeds(value: float, text: str) -> None:
    assert speed_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (20.4, "0:20"), (59.9, "1:00"), (3_661, "1:01:01")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_launcher_can_read_it_without_torch() -> None:
    code = "import sys, pipeline.tracking.progress_line; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
