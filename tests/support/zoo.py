"""The folders of published systems."""

from collections.abc import Iterator
from pathlib import Path

import virc_zoo
from virc.systems import registry as systems

FOLDER = Path(virc_zoo.__file__).parent


def files(pattern: str) -> Iterator[tuple[str, Path]]:
    """Yield each file of that name, or pattern, in the folder of a system, behind the name of that system."""
    for name, system in systems.discover().files.items():
        if system.parent.parent == FOLDER:
            yield from ((name, file) for file in sorted(system.parent.glob(pattern)))
