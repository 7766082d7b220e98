"""Rows of several systems in one stage of RL: each row is put in its own system's words, and rewarded as that says.

`sources` names the systems; a row is of the one whose name its column `data_source` holds, else of the stage's own.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from virc.core.errors import ConfigError
from virc.models import chat_protocol
from virc.reasoning.protocol import Protocol
from virc.stages import resolve as stages
from virc.stages.rl import Config
from virc.systems import registry as systems
from virc.systems.registry import Reward

FOLDER = "sources"
"""In a run: a folder for each of them, with its chat protocol, the settings of its reward, and its own files."""
REWARD = "reward.json"


class Speaker(msgspec.Struct, frozen=True):
    """The chat protocol, reward and turns of the rows of one system; `beside` is the folder of its YAML."""

    protocol: Protocol
    reward: Reward
    max_turns: int
    beside: Path | None


def speakers(config: Config) -> dict[str, Speaker]:
    found: dict[str, Speaker] = {}
    for system in map(systems.get, config.sources):
        if system.name in found:
            raise ConfigError(f"two systems of `sources` are called {system.name}", "give one another name")
        stage = next((name for name, stage in system.stages.items() if stage.kind == "rl"), None)
        if stage is None:
            raise ConfigError(f"{system.name} has no stage of kind rl, so what its rows are rewarded for is not known")
        own: Config = stages.resolve(system, stage).config
        if own.max_turns >= config.max_images:
            sentence = f"{own.max_turns} turns of {system.name} can show as many images, and the problem has one"
            raise ConfigError(
                f"{sentence}, and max_images is {config.max_images}", f"«--set max_images={own.max_turns + 1}»"
            )
        reward = _judged(own.reward, config.reward)
        protocol = chat_protocol.of_system(system)
        found[system.name] = Speaker(protocol, reward, own.max_turns, system.file.parent)
    return found


def _judged(reward: Reward, of_stage: Reward) -> Reward:
    named = {name: each.endpoint for name, each in of_stage.judges.items() if each.endpoint}
    judges = {
        name: msgspec.structs.replace(each, endpoint=named.get(name, each.endpoint))
        for name, each in reward.judges.items()
    }
    return msgspec.structs.replace(reward, judge=of_stage.judge, judges=judges, strict="own")


def folders(run: Path) -> Mapping[str, Path]:
    place = run / FOLDER
    names = sorted(each.name for each in place.iterdir()) if place.is_dir() else ()
    return {name: settings_of(run, name) for name in names}


def settings_of(run: Path, name: str) -> Path:
    return run / FOLDER / name / REWARD
