"""An agent learns of the end of its job and never waits for the rendezvous store."""

from __future__ import annotations

import pytest
from torch.distributed.elastic.rendezvous import RendezvousParameters, rendezvous_handler_registry

from launchers.elastic import rendezvous_handler
from launchers.elastic.rendezvous_handler import (
    BACKEND,
    MonitoredRendezvousHandler,
    RendezvousEnded,
)
from launchers.elastic.rendezvous_store import open_rendezvous_store
from tests.slurm.box import until


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    rendezvous_handler.register()


def agents(port: int, count: int) -> list[MonitoredRendezvousHandler]:
    """Of `count` agents of a job of one machine, with no patience."""
    made = []
    for _ in range(count):
        parameters = RendezvousParameters(
            BACKEND, f"localhost:{port}", "job", 1, 1, None, is_host="0", patience="0"
        )
        agent = rendezvous_handler_registry.create_handler(parameters)
        assert isinstance(agent, MonitoredRendezvousHandler)
        made.append(agent)
    return made


def over(agent: MonitoredRendezvousHandler) -> str:
    """What it raises, once it does."""
    said: list[str] = []

    def raises() -> bool:
        try:
            agent.num_nodes_waiting()
        except RendezvousEnded as error:
            said.append(str(error))
        return bool(said)

    until(raises, "the agent sees the end", 30)
    return said[0]


def test_the_end_of_another_machine_is_the_jobs() -> None:
    store = open_rendezvous_store(0)
    first, second = agents(store.port, 2)
    first.next_rendezvous()
    assert first.num_nodes_waiting() == 0
    assert second.shutdown()
    assert over(first) == "another machine ended the job, and ranks here did not exit within 0 s"
    assert first.is_closed()
    assert first.shutdown()


def test_a_store_that_is_gone_is_the_end() -> None:
    store = open_rendezvous_store(0)
    port = store.port
    (agent,) = agents(port, 1)
    agent.next_rendezvous()
    del store
    assert over(agent).startswith(f"the rendezvous store localhost:{port} is gone")
    assert not agent.shutdown()
