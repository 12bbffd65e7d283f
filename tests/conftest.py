"""What holds for all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.browser import NAMES, Browser, find_browser, open_browser

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell without job control starts `make test &` with SIGINT ignored, which processes inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_browser() -> Iterator[Browser]:
    if find_browser() is None:
        pytest.skip(
            f"no browser ({', '.join(NAMES[:3])}) on this machine; apt-get install chromium"
        )
    with open_browser() as browser:
        yield browser


@pytest.fixture
def browser(shared_browser: Browser) -> Iterator[Browser]:
    """As new; at the end of a test nothing may have gone wrong in it."""
    shared_browser.resize(1280, 1000)
    shared_browser.dark(False)
    yield shared_browser
    assert shared_browser.faults == []
    assert {address.partition(":")[0] for address in shared_browser.addresses} <= {"file", "data"}
