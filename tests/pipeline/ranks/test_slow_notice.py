"""A rank that waits long says what for; one that does not says nothing."""

from __future__ import annotations

import pytest

from pipeline.ranks.slow_notice import notice_if_slow


def test_only_a_slow_wait_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with notice_if_slow("rank 1: waiting for rank 0", after=0.0) as timer:
        timer.join()
    assert capsys.readouterr().err == "homerec: rank 1: waiting for rank 0\n"
    with notice_if_slow("rank 1: waiting for rank 0", after=1000.0) as timer:
        pass
    timer.join()
    assert capsys.readouterr().err == ""
