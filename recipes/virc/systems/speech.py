"""The chat protocol that a system's YAML makes: its own words, else ours with its tools and pictures."""

import msgspec

from virc.core.errors import ConfigError
from virc.reasoning.protocol import PICTURES, USUAL, Coordinates, Protocol, Words, own_protocol, worded
from virc.systems import texts, words
from virc.systems.registry import System
from virc.tools import registry as tools

OWN_WORDS = "own words"
"""The name of the chat protocol of a system with our own words in place of its authors' texts."""


def load_tools(system: System | None) -> list[str]:
    """Returns the names of all tools. Raises ConfigError: there is none of a name, or its file is no tool."""
    return tools.load(system.offered, system.file.parent) if system else list(tools.DEFAULT)


def worded_by(
    system: System | None, coordinates: Coordinates | None = None, own_words: bool = False
) -> Protocol | None:
    """The words of a system; None where it has none of its own.

    Args:
        coordinates: what boxes of one of its models are counted in, where that is not as in its YAML.
        own_words: take our own words for texts of its authors.

    Raises:
        ConfigError: its words do not go with its tools; a text of its authors is not on this machine; or as of
            `load_tools`.
    """
    if system is None or not system.worded:
        return None
    own, said = ours(system, coordinates), words_of(system, own_words)
    for fault in words.faults(said, own.tools, tools.known()):
        raise ConfigError(f"{system.file}: {'.'.join(fault.path)}: {fault.message}", fault.hint)
    spoken = worded(own, said, tools.schemas(own.tools, own.coordinates))
    ours_instead = own_words or texts.is_own_wording(system.file.parent)
    return msgspec.structs.replace(spoken, name=OWN_WORDS) if ours_instead else spoken


def words_of(system: System, own: bool = False) -> Words:
    return msgspec.convert(texts.filled(msgspec.to_builtins(system.chat_protocol), system.file.parent, own), Words)


def ours(system: System | None, coordinates: Coordinates | None = None) -> Protocol:
    """Our own chat protocol with the system's tools, else the usual ones; plain models may repeat."""
    counted = coordinates or (system.coordinates if system else "pixel")
    protocol = own_protocol(tools.schemas(load_tools(system), counted), counted)
    pictures = {name: getattr(system, name) for name in PICTURES} if system else {}
    return drawn(msgspec.structs.replace(protocol, repeat_limit=0, **pictures), system)


def drawn(protocol: Protocol, system: System | None) -> Protocol:
    usual = system.sampling if system and system.sampling != USUAL else protocol.sampling
    return msgspec.structs.replace(protocol, sampling=usual)
