"""Where an engine's keys are not the published ones, and why (D11)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.files import DATA
from virc.core.plan import Change
from virc.stages.context import Place
from virc.stages.sft import StageConfig


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


class Reasons(msgspec.Struct, frozen=True):
    """What the keys of an engine follow from.

    Args:
        ours: key -> the setting of ours that it follows from.
        several: keys that follow from several settings.
        why: key -> our reason for another value than the published one.
    """

    ours: Mapping[str, str]
    several: Mapping[str, tuple[str, ...]]
    why: Mapping[str, str]

    def changes(
        self, keys: Mapping[str, Any], published: Mapping[str, Any], origins: Mapping[str, str]
    ) -> tuple[Change, ...]:
        """Where the engine's keys are not the published ones, each with its reason: ours, or who asked for it.

        Args:
            keys: as the engine gets them.
            published: the values of the published script; empty where there is none.
            origins: setting -> where its value comes from.
        """
        both = {key: (published.get(key), keys.get(key)) for key in {**published, **keys} if published}
        return tuple(
            Change(key, theirs, ours, self._why(key, origins, key in published))
            for key, (theirs, ours) in both.items()
            if theirs != ours
        )

    def _why(self, key: str, origins: Mapping[str, str], named: bool) -> str:
        """Who asked for what the key follows from; else our reason; else where its setting comes from.

        Args:
            named: the published script names the key.
        """
        settings = self.several.get(key) or (self.ours.get(key, "").split(".")[0],)
        asked = dict.fromkeys(
            origin
            for name, origin in origins.items()
            if name.split(".")[0] in settings or f"{name}.".startswith(f"engine.{key}.")
        )
        chosen = [
            origin for origin in asked if origin.startswith(("overlay", "--", "option")) or "." in origin
        ]
        otherwise = next(iter(asked), "as by default") if named else "the published script does not name it"
        return ", ".join(chosen) or self.why.get(key) or otherwise
