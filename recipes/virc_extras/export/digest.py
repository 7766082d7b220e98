"""One hash of what is a system's own, by which a package knows its system again."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

from virc.rewards.of_system import reward_of
from virc.systems import texts
from virc.systems.registry import System

_DIGITS = 16


def digest_of(system: System, own_words: bool | None = None) -> str:
    """The first 16 hexadecimal digits of a SHA-256 of virc's version, and of the system's YAML, pipeline and total.

    Args:
        own_words: whether our own words stand in it; None: as now.
    """
    own = texts.is_own_wording(system.file.parent) if own_words is None else own_words
    files = [system.file, *([Path(system.pipeline)] if system.pipeline else [])]
    if system.reward and system.reward.total:
        files.append(reward_of(system)[1].file)
    words = [texts.OWN_WORDS] if own else []
    found = [version("virc"), *words, *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:_DIGITS]
