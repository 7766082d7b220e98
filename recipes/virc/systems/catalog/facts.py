"""What the authors of a system published, and what this package does in another way: `facts.json` next to its YAML.

`tests/facts/make.py` makes the file from their repository; a test compares the system with it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import ConfigError
from virc.core.files import is_file
from virc.core.text import clause
from virc.systems.registry import IN_FOLDER, System

FACTS = "facts.json"


class Value(msgspec.Struct, frozen=True):
    """A value of a published script or its trainer's defaults; `alike`: `ours` is another, and the same is learnt."""

    value: Any
    ours: Any = None
    why: str | None = None
    alike: bool = False


class Facts(msgspec.Struct, frozen=True):
    """What was published in OWNER/NAME@COMMIT; `texts` has digests, `stages` stage -> key -> value."""

    source: str
    texts: Mapping[str, Any] = {}
    stages: Mapping[str, Mapping[str, Value]] = {}
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        values = sum(map(len, self.stages.values()))
        return f"{values} values and {len(self.texts)} texts of {self.source}"


def file_of(file: Path) -> Path:
    return file.with_name(FACTS) if file.name == IN_FOLDER else file.with_suffix(f".{FACTS}")


def of(system: System) -> Facts | None:
    file = file_of(system.file)
    try:
        return msgspec.json.decode(file.read_bytes(), type=Facts) if is_file(file) else None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{file} has no facts: {clause(error)}", "tests/facts/make.py writes it again") from error


def differing(facts: Facts, stage: str) -> Iterator[str]:
    for key, value in facts.stages.get(stage, {}).items():
        if value.why and not value.alike:
            ours = "" if value.ours is None else f", here {msgspec.json.encode(value.ours).decode()}"
            yield f"{key}: published {msgspec.json.encode(value.value).decode()}{ours}; {value.why}"
