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
    """Test files of one of `count` processes: of all, the largest first, each process takes one in turn."""
    files = sorted(folder.rglob("test_*.py"), key=lambda file: (-file.stat().st_size, file))
    return frozenset(files[number::count])
