"""The folders of published systems."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import virc_zoo
from virc.core.errors import ConfigError
from virc.systems import registry as systems
from virc.systems import texts

FOLDER = Path(virc_zoo.__file__).parent


def files(pattern: str) -> Iterator[tuple[str, Path]]:
    """Yield each file of that name, or pattern, in the folder of a system, behind the name of that system."""
    for name, system in systems.discover().files.items():
        if system.parent.parent == FOLDER:
            yield from ((name, file) for file in sorted(system.parent.glob(pattern)))


def json_of(file: Path) -> Any:
    """Return what is recorded in a file, with the texts of the system's authors if they are here, else ours."""
    recorded = file.read_text()
    content = json.loads(recorded)
    if "{text:" not in recorded:
        return content
    try:
        return texts.filled(content, file.parent)
    except ConfigError:  # texts of another system than the one that is tried
        return texts.filled(content, file.parent, own=True)
