"""What an attempt at a stage works on, besides its settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt works on, for every engine alike. Every path is absolute.

    Args:
        model_type: of the base, as in its config.json.
        data: file of rows; `dataset` is its name for the engine, `entry` its columns and tags in `dataset_info.json`.
        validation: file of rows that are only rolled out and scored; for RL.
        protocol: file with the chat protocol of the rows; for RL.
        reward: file with the settings of the reward; for RL.
        sources: the same file of each further system that rows may be of, by its name.
        files: folder for this attempt's files.
        resume: folder of the checkpoint to go on from.
        untried: whether the step it begins with is still to be validated, where there is a validation; for RL.
        recipes: folder with the code of this package.
    """

    base: Path
    model_type: str
    data: Path
    media: Path
    output: Path
    files: Path
    python: Path
    recipes: Path
    dataset: str = ""
    entry: Mapping[str, Any] = {}
    adapter: Path | None = None
    resume: Path | None = None
    untried: bool = True
    validation: Path | None = None
    protocol: Path | None = None
    reward: Path | None = None
    sources: Mapping[str, Path] = {}
