"""The chat protocol that a system's YAML makes: its own words, else ours with its tools and pictures."""

import msgspec

from virc.core.errors import ConfigError
from virc.reasoning.protocol import PICTURES, USUAL, Coordinates, Protocol, own_protocol, worded
from virc.systems import words
from virc.systems.registry import System
from virc.tools import registry as tools


def load_tools(system: System | None) -> list[str]:
    """Load the tools of one's own that a system names; returns the names of all it names.

    Raises:
        ConfigError: there is none of a name, or its file is no tool.
    """
    return tools.load(system.offered, system.file.parent) if system else list(tools.DEFAULT)


def worded_by(system: System | None, coordinates: Coordinates | None = None) -> Protocol | None:
    """The words of a system; None where it has none of its own.

    Args:
        coordinates: what boxes of one of its models are counted in, where that is not as in its YAML.

    Raises:
        ConfigError: its words do not go with its tools, or as of `load_tools`.
    """
    if system is None or not system.worded:
        return None
    own = ours(system, coordinates)
    for fault in words.faults(system.chat_protocol, own.tools, tools.known()):
        raise ConfigError(f"{system.file}: {'.'.join(fault.path)}: {fault.message}", fault.hint)
    return worded(own, system.chat_protocol, tools.schemas(own.tools, own.coordinates))


def ours(system: System | None, coordinates: Coordinates | None = None) -> Protocol:
    """Our own chat protocol with the system's tools, else the usual ones; plain models may repeat.

    Args, Raises: as of `worded_by`.
    """
    counted = coordinates or (system.coordinates if system else "pixel")
    protocol = own_protocol(tools.schemas(load_tools(system), counted), counted)
    pictures = {name: getattr(system, name) for name in PICTURES} if system else {}
    return drawn(msgspec.structs.replace(protocol, repeat_limit=0, **pictures), system)


def drawn(protocol: Protocol, system: System | None) -> Protocol:
    """A chat protocol that is sampled as the system says, where that says so."""
    usual = system.sampling if system and system.sampling != USUAL else protocol.sampling
    return msgspec.structs.replace(protocol, sampling=usual)
