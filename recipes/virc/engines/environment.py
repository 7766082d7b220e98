"""Engines, one file each: a stage's settings as that engine's keys, files and command, and what they share."""

from collections.abc import Mapping
from pathlib import Path

from virc.core.files import DATA
from virc.stages.context import Place
from virc.stages.sft import StageConfig

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


def place_before(config: StageConfig, run: str, media: Path) -> Place:
    """What an attempt would work on, before weights and rows are looked for.

    Args:
        run: name of the run to be.
    """
    return Place(
        base=Path(config.base or f"the newest run of {config.after}"),
        model_type="qwen2_5_vl",  # that of every published stage
        data=Path(DATA) / config.data_name(),
        media=media,
        output=Path("runs", run, "checkpoints"),
        files=Path("runs", run, "logs", "attempt_1"),
        python=Path("python"),
        recipes=Path(),
    )
