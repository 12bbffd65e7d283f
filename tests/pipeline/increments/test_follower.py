"""A follower has the newest model that can be had; what cannot be applied is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.increments.channel import Channel
from pipeline.increments.follower import Follower
from pipeline.increments.increment import write_increment
from pipeline.io.errors import UserError
from tests.pipeline.increments.models import changed, content

Chain = tuple[Channel, list[Path]]


@pytest.fixture
def chain(model_folder: Path, tmp_path: Path) -> Chain:
    """A full folder, number 1, and increments 2 to 4; the models of all numbers."""
    channel = Channel(str(tmp_path / "channel"))
    models = [model_folder]
    channel.put_full(1, model_folder)
    for number in (2, 3, 4):
        models.append(changed(models[-1], tmp_path / f"model{number}", seed=number))
        file = tmp_path / "increment.zip"
        write_increment(models[-2], models[-1], file, number)
        channel.put_increment(number, file)
    return channel, models


def test_a_follower_applies_the_chain(chain: Chain, tmp_path: Path) -> None:
    channel, models = chain
    follower = Follower(channel, tmp_path / "work")
    assert follower.update()
    assert follower.number == 4
    assert content(follower.folder) == content(models[3])
    assert not follower.update()
    assert not follower.refused
    again = Follower(channel, tmp_path / "work")  # a new process goes on
    assert again.number == 4


def damage(channel: Channel) -> None:
    path = Path(str(channel.path)) / "increment-00000003.zip"
    path.write_bytes(path.read_bytes()[:-100])


def remove(channel: Channel) -> None:
    (Path(str(channel.path)) / "increment-00000003.zip").unlink()


def repeat(channel: Channel) -> None:
    folder = Path(str(channel.path))
    (folder / "increment-00000003.zip").write_bytes(
        (folder / "increment-00000002.zip").read_bytes()
    )


@pytest.mark.parametrize(
    ("fault", "reason"), [(damage, "damaged"), (remove, "gap"), (repeat, "stale")]
)
def test_a_fault_is_named_and_a_full_folder_helps(
    chain: Chain, tmp_path: Path, fault: Callable[[Channel], None], reason: str
) -> None:
    channel, models = chain
    fault(channel)
    lines: list[str] = []
    follower = Follower(channel, tmp_path / "work", lines.append)
    assert follower.update()
    assert (follower.number, dict(follower.refused)) == (2, {reason: 1})
    assert content(follower.folder) == content(models[1])
    assert not follower.update()
    assert [line.partition(":")[0] for line in lines] == [f"refused ({reason})"]
    newest = changed(models[-1], tmp_path / "model5", seed=5)
    channel.put_full(5, newest)
    assert follower.update()
    assert (follower.number, content(follower.folder)) == (5, content(newest))


def test_an_increment_of_another_model_is_foreign(
    chain: Chain, model_folder: Path, tmp_path: Path
) -> None:
    channel, models = chain
    other = changed(model_folder, tmp_path / "other", seed=99)
    write_increment(other, models[1], tmp_path / "foreign.zip", 5)
    channel.put_increment(5, tmp_path / "foreign.zip")
    follower = Follower(channel, tmp_path / "work")
    assert follower.update()
    assert (follower.number, dict(follower.refused)) == (4, {"foreign": 1})


def test_a_full_folder_that_is_damaged_is_not_taken(chain: Chain, tmp_path: Path) -> None:
    channel, models = chain
    channel.put_full(5, changed(models[-1], tmp_path / "model5", seed=5))
    (Path(str(channel.path)) / "full-00000005" / "tower.pt").write_bytes(b"")
    follower = Follower(channel, tmp_path / "work")
    follower.update()
    assert (follower.number, dict(follower.refused)) == (4, {"damaged": 1})


def test_a_number_is_published_once(chain: Chain, model_folder: Path, tmp_path: Path) -> None:
    channel, _ = chain
    with pytest.raises(UserError, match="another process"):
        channel.put_full(1, model_folder)
    with pytest.raises(UserError, match="another process"):
        channel.put_increment(4, tmp_path / "increment.zip")


def test_pruning_keeps_what_the_newest_needs(chain: Chain, tmp_path: Path) -> None:
    channel, models = chain
    channel.put_full(5, changed(models[-1], tmp_path / "model5", seed=5))
    newest = changed(tmp_path / "model5", tmp_path / "model6", seed=6)
    write_increment(tmp_path / "model5", newest, tmp_path / "six.zip", 6)
    channel.put_increment(6, tmp_path / "six.zip")
    assert channel.prune(2) == []
    assert len(channel.prune(1)) == 4
    assert channel.numbers() == ([5], [6])
    follower = Follower(channel, tmp_path / "work")
    assert follower.update()
    assert content(follower.folder) == content(newest)


def test_a_store_takes_the_place_of_a_folder(model_folder: Path, tmp_path: Path) -> None:
    channel = Channel("memory://increments/a")
    new = changed(model_folder, tmp_path / "new", seed=1)
    channel.put_full(1, model_folder)
    write_increment(model_folder, new, tmp_path / "increment.zip", 2)
    channel.put_increment(2, tmp_path / "increment.zip")
    follower = Follower(channel, tmp_path / "work")
    assert follower.update()
    assert content(follower.folder) == content(new)


def test_local_models_of_another_channel_are_removed(chain: Chain, tmp_path: Path) -> None:
    channel, models = chain
    new = changed(models[3], tmp_path / "new", seed=9)
    for number, reason in ((4, "foreign"), (3, "stale")):
        other = Channel(str(tmp_path / f"other{number}"))
        other.put_full(number, new)
        Follower(channel, tmp_path / f"work{number}").update()
        follower = Follower(other, tmp_path / f"work{number}")
        assert follower.update()
        assert (follower.number, dict(follower.refused)) == (number, {reason: 1})
        assert content(follower.folder) == content(new)


def test_what_was_refused_is_not_fetched_again_at_once(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, _ = chain
    damage(channel)
    fetched: list[int] = []
    fetch = channel.fetch_increment

    def counted(number: int, to: Path) -> None:
        fetched.append(number)
        fetch(number, to)

    monkeypatch.setattr(channel, "fetch_increment", counted)
    follower = Follower(channel, tmp_path / "work")
    for _ in range(5):
        follower.update()
    assert fetched == [2, 3]


def test_an_upload_that_was_killed_is_repeated(model_folder: Path, tmp_path: Path) -> None:
    channel = Channel("memory://increments/killed")
    (channel.path / "full-00000001").mkdir(parents=True)
    (channel.path / "full-00000001" / "tower.pt").write_bytes(b"half")
    assert channel.newest() == 0
    channel.put_full(1, model_folder)
    follower = Follower(channel, tmp_path / "work")
    assert follower.update()
    assert content(follower.folder) == content(model_folder)
