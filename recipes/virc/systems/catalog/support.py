"""How far each published system is supported, computed from `listed` and `tested.json`.

`tested.json` says with which content a system's stages ran in their engines; the tests of the engines write it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import msgspec

from virc.config import yaml as plain_yaml
from virc.systems.published import PACKAGE, Row, State, field, lacking, needs, of_listed, row
from virc.systems.registry import System, discover

TESTED = Path(__file__).with_name("tested.json")


class Ran(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one stage ran in: an engine and its version (`verl 0.9.1`), for so many optimizer steps."""

    engine: str
    steps: int


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stages of a system that ran, and the digest of the YAML they ran with."""

    digest: str
    stages: Mapping[str, Ran]


@cache
def tested() -> Mapping[str, Record]:
    """The systems whose stages ran in their engines."""
    return msgspec.json.decode(TESTED.read_bytes(), type=dict[str, Record])


def digest(system: System) -> str:
    """SHA-256 of what a system's YAML says, in hexadecimal digits; comments and format do not count."""
    content = plain_yaml.read(system.file)
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def of(published: Row) -> State:
    """The state of a published system."""
    system = discover().get(published.name)
    return of_system(system, published) if system else of_listed(published)


def states() -> dict[str, State]:
    """The state of every published system, and of every other with a YAML."""
    known = {published.name: of(published) for published in field()}
    return known | {name: of_system(system, row(name)) for name, system in discover().items()}


def of_system(system: System, published: Row | None) -> State:
    """The state of a system that has a YAML.

    Args:
        published: the published system; None where there is none.
    """
    if system.file.parent != PACKAGE:
        return State("own", str(system.file))
    if system.reward and system.reward.total is None:
        return State("to-be-supplied", system.reward.supply or "the total of its reward")
    gaps = [*_untested(system)]
    if published and lacking(published):
        gaps.append(needs(published))
    if published and published.unknown:
        gaps.append(f"to be supplied: {published.unknown}")
    if published and published.outside:
        gaps.append(f"not: {published.outside}")
    return State("partly", "; ".join(gaps)) if gaps else State("works")


def _untested(system: System) -> Iterator[str]:
    ran = tested().get(system.name)
    if ran and ran.digest != digest(system):
        yield "changed since its stages were tested"
    elif missing := [stage for stage in system.stages if not ran or stage not in ran.stages]:
        yield f"not tested: {', '.join(missing)}"
    elif not system.stages:
        yield "no stages"
