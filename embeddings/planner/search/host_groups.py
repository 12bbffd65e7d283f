"""Items that a rule keeps on one host: the first to be placed says which."""

from __future__ import annotations

from embeddings.planner.inputs.arrays import IntArray
from embeddings.planner.problem.problem import Problem


class HostGroups:
    """Where each group is, as long as one of its items is placed."""

    def __init__(self, problem: Problem) -> None:
        self._group = problem.host_group
        self._hosts = problem.hosts
        self._placed: dict[int, tuple[int, int]] = {}
        """Group -> its host, and how many of its items are placed."""

    def of(self, item: int) -> int:
        """The group of an item; -1: none."""
        return self._group[item] if self._group else -1

    def host(self, item: int) -> int:
        """The host that the item must lie on; -1: any."""
        return self._placed.get(self.of(item), (-1, 0))[0]

    def members(self, item: int) -> list[int]:
        """All items of the item's group; itself alone if it has none."""
        group = self.of(item)
        if group < 0:
            return [item]
        return [other for other, its in enumerate(self._group) if its == group]

    def suits(self, item: int, places: IntArray) -> bool:
        if self.of(item) < 0:
            return True
        hosts = set((places % self._hosts).tolist())
        return len(hosts) == 1 and self.host(item) in (-1, *hosts)

    def put(self, item: int, places: IntArray) -> None:
        if (group := self.of(item)) >= 0:
            host, count = self._placed.get(group, (int(places[0]) % self._hosts, 0))
            self._placed[group] = host, count + 1

    def take(self, item: int) -> None:
        if (group := self.of(item)) >= 0:
            host, count = self._placed[group]
            if count == 1:
                del self._placed[group]
            else:
                self._placed[group] = host, count - 1
