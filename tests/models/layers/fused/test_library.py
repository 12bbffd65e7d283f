"""The kernels are compiled once for a machine; where they cannot be, the reason is known."""

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.layers.fused import kernels as module
from models.layers.fused.kernels import compiled, why_not
from models.layers.fused.library import library


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What was loaded before the test does not count in it, nor what it loads after it."""
    monkeypatch.setenv("HOMEREC_KERNELS", "1")
    module._load.cache_clear()
    yield
    module._load.cache_clear()


@pytest.mark.usefixtures("anew")
def test_without_a_compiler_the_reason_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    assert compiled() is None
    assert "no C++ compiler" in (why_not() or "")


@pytest.mark.usefixtures("anew")
def test_a_compiler_that_fails_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fails = tmp_path / "fails"
    fails.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 1\n", encoding="utf-8")
    fails.chmod(fails.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(fails))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert compiled() is None
    assert "no space left" in (why_not() or "")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
def test_a_second_start_compiles_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = library()
    made = first.stat().st_mtime_ns
    assert library() == first
    assert first.stat().st_mtime_ns == made
    assert [path.name for path in first.parent.iterdir()] == [first.name]
