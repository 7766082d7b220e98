"""Engines, one file each: a stage's settings as that engine's keys, files and command, and what they share."""

from collections.abc import Mapping
from pathlib import Path

SILENT: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
"""Nothing of an engine reaches the network but trackers, where the user asks for them."""


def environment(recipes: Path) -> dict[str, str]:
    """Variables that every engine's process gets; an empty one is taken away.

    Args:
        recipes: folder with the code of this package.
    """
    return {
        **SILENT,
        "PYTHONPATH": str(recipes),
        "PYTHONDONTWRITEBYTECODE": "",  # or every start would compile a thousand files again
        "PYTHONUNBUFFERED": "1",
    }
