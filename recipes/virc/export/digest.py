"""One hash of what the conversations and rewards of a system depend on, by which a package knows its system again."""

import hashlib
import json

from virc.rewards.trial import reward_of
from virc.systems.catalog import digests
from virc.systems.registry import System

_DIGITS = 16


def digest_of(system: System) -> str:
    """The first 16 hexadecimal digits of a SHA-256 of its YAML and of the code of its turns, tools and reward."""
    found = {"replies": digests.of_replies(system)}
    found |= {name: digests.of_reward(system, name) for name, stage in system.stages.items() if stage.kind == "rl"}
    if system.reward and system.reward.total:
        found["total"] = {"file": hashlib.sha256(reward_of(system)[1].file.read_bytes()).hexdigest()}
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:_DIGITS]
