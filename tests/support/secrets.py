"""Keys that every test has in its environment, and that no output and no file may show."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

KEYS: Mapping[str, str] = {
    name: f"sentinel-{name.lower().replace('_', '-')}-5f2c9e"
    for name in ("VIRC_API_KEY", "VIRC_JUDGE_KEY", "HF_TOKEN", "OTHER_SERVICE_TOKEN")
}
_VALUES = [value.encode() for value in KEYS.values()]
_MAX_BYTES = 2**26


def shown(text: str) -> list[str]:
    """The names of the keys in a text."""
    return [name for name, value in KEYS.items() if value in text]


def files_with_keys(folder: Path) -> list[str]:
    """The files below a folder that hold a key, but for those that their owner alone can read."""
    return [str(file) for file in _files(folder) if _has_key(file)]


def _files(folder: Path) -> list[Path]:
    return [Path(place) / name for place, _, names in os.walk(folder) for name in names]


def _has_key(file: Path) -> bool:
    try:
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES or not status.st_mode & 0o077:
            return False
        content = file.read_bytes()
    except OSError:  # it is removed meanwhile, or a test made it unreadable
        return False
    return any(value in content for value in _VALUES)
