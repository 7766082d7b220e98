"""How processes of pytest share the suite: each collects files of its own, so that no file is read by all of them."""

from pathlib import Path
from typing import Any

from xdist.scheduler import EachScheduling  # type: ignore[import-untyped]


class Apart(EachScheduling):  # type: ignore[misc]
    """Each process runs all that it collected."""

    def schedule(self) -> None:
        """Start, once all have collected; progress is told of all tests."""
        session: Any = self.config.pluginmanager.get_plugin("session")
        session.testscollected = sum(map(len, self.node2collection.values()))
        super().schedule()


def files_of(folder: Path, number: int, count: int) -> frozenset[Path]:
    """Test files of one of `count` processes: rooms stay whole, as their fixtures are made once for each process.

    The rooms are shared out by their sizes in bytes, the largest first, each to the process that has least.
    """
    rooms: dict[str, list[Path]] = {}
    for file in folder.rglob("test_*.py"):
        rooms.setdefault(file.relative_to(folder).parts[0], []).append(file)
    sizes = {room: sum(file.stat().st_size for file in files) for room, files in rooms.items()}
    given: list[list[str]] = [[] for _ in range(count)]
    for room in sorted(rooms, key=lambda room: (-sizes[room], room)):
        min(given, key=lambda taken: sum(sizes[each] for each in taken)).append(room)
    return frozenset(file for room in given[number] for file in rooms[room])
