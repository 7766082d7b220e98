"""Writing system files."""

import json
import os
import re
from pathlib import Path

from virc.config.validation import wanted_kind
from virc.core.errors import ConfigError, UsageError, errors_as
from virc.core.files import write_whole
from virc.systems import registry as systems
from virc.systems.names import NAME_PATTERN, Name

ROW = json.dumps(
    {
        "problem": "Which colour is the square?",
        "solution": "<answer>red</answer>",
        "image": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAADgAAAA4AQMAAACSSKldAAAAA1BMVEX/AAAZ4gk3"
        "AAAADklEQVR42mNgGAVDGQAAAcAAAb8Xq8EAAAAASUVORK5CYII=",
    }
)
"""A row as the layout in `starting.txt` reads it, with a red square as its picture."""
_STARTING = Path(__file__).with_name("starting.txt")


def starting(name: str) -> str:
    return _STARTING.read_text(encoding="utf-8").replace("NAME", name)


def write(target: Path, text: str) -> None:
    """Raises ConfigError: there is a file, or it cannot be written."""
    if os.path.lexists(target):
        raise ConfigError(f"there is a file {target} already", "choose another, or remove it")
    with errors_as(ConfigError, f"cannot write {target}"):
        write_whole(target, text.encode())


def checked_name(name: str | None, target: Path) -> str:
    """Raises UsageError: the file would not be found as a system's; ConfigError: the name is taken or none."""
    if target.suffix not in systems.SUFFIXES:
        raise UsageError(f"{target} does not end in .yaml", f"{target.name}.yaml")
    chosen = name or target.stem
    if not re.match(NAME_PATTERN, chosen):
        raise ConfigError(f"{json.dumps(chosen)} cannot name a system", f"names are {wanted_kind(Name)}")
    if chosen in systems.discover():
        raise ConfigError(
            f"there is a system {chosen} already, in {systems.discover()[chosen].file}", "choose another name"
        )
    return chosen
