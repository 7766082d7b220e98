"""The folders of published systems, and what their own programs gave, in `tests/zoo/cases`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import virc_zoo
from virc.core.errors import ConfigError
from virc.systems import registry as systems
from virc.systems import texts

FOLDER = Path(virc_zoo.__file__).parent
CASES = Path(__file__).parents[1] / "zoo" / "cases"
"""`SYSTEM[-STAGE].json`: rewards; in `SYSTEM/`: `conversation.yaml`, `program.json`, `pipeline-cases.json`."""


def files(pattern: str) -> Iterator[tuple[str, Path]]:
    """Yield each file of that name, or pattern, in the folder of a system, behind the name of that system."""
    for name, system in systems.discover().files.items():
        if system.parent.parent == FOLDER:
            yield from ((name, file) for file in sorted(system.parent.glob(pattern)))


def recorded(name: str) -> dict[str, Path]:
    """Return the file of that name of each system that has one, by the name of the system."""
    return {file.parent.name: file for file in sorted(CASES.glob(f"*/{name}"))}


def program(system: str) -> Any:
    """Return what functions of a system's own program gave."""
    return json_of(CASES / system / "program.json", system)


def json_of(file: Path, system: str) -> Any:
    """Return what is recorded in a file, with the texts of the system's authors if they are here, else ours."""
    recorded = file.read_text()
    content = json.loads(recorded)
    if "{text:" not in recorded:
        return content
    folder = systems.get(system).file.parent
    try:
        return texts.filled(content, folder)
    except ConfigError:  # texts of another system than the one that is tried
        return texts.filled(content, folder, own=True)
