"""Nothing is collected meanwhile; afterwards it is as before."""

import gc

import pytest

from pipeline.io.import_time import no_garbage_collection


@pytest.mark.parametrize("enabled", [True, False])
def test_collection_is_off_within_and_afterwards_as_before(enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with no_garbage_collection():
            within = gc.isenabled()
        assert (within, gc.isenabled()) == (False, enabled)
    finally:
        gc.unfreeze()
        (gc.enable if before else gc.disable)()
