"""Which engine trains stages of a kind: the module that plans its attempts, and the one that reads its log."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from virc.config.validation import Fault
from virc.core.plan import Change, Plan
from virc.engines.environment import place_before
from virc.engines.key_table import KeyTable
from virc.engines.llamafactory import log as llamafactory_log
from virc.engines.llamafactory import plan as llamafactory
from virc.engines.llamafactory.keys import KEYS as SUPERVISED_KEYS
from virc.engines.llamafactory.keys import PREFERENCE_KEYS
from virc.engines.verl import log as verl_log
from virc.engines.verl import plan as verl
from virc.engines.verl.keys import KEYS as VERL_KEYS
from virc.runs.metrics import Metric, Phase
from virc.runs.run import Info
from virc.stages import dpo, rl, sft
from virc.stages.context import Place
from virc.stages.resolve import config_type
from virc.stages.sft import Contradiction


class Planner(Protocol):
    """The module `plan` of an engine; `config` is of the type that the stage's kind has."""

    NAME: str

    def plan(self, config: Any, place: Place, published: Mapping[str, Any], origins: Mapping[str, str]) -> Plan: ...

    def needs(self, config: Any) -> dict[str, str]: ...


class LogReader(Protocol):
    """The module `log` of an engine.

    Attributes:
        METRICS: file of metrics that the engine writes, in the run's folder.
        STARTUP: the phases until its first step.
    """

    METRICS: str
    STARTUP: Sequence[Phase]

    def reader(self, info: Info, attempt: int, known: Iterable[Metric]) -> Callable[[bytes], Metric | None]: ...

    def started(self, log: Path, info: Info, step: int) -> None:
        """Refuse an engine that trains on other rows or from another step than it should."""

    def trained(self, log: Path) -> int | None:
        """The number of parameters it trains; None if its log does not have it."""

    def cause(self, log: Path, code: int | None) -> tuple[str, str | None]:
        """Why the engine ended by itself, and what to do about it."""


class Engine(msgspec.Struct, frozen=True):
    plan: Planner
    log: LogReader
    keys: KeyTable
    contradictions: Callable[[Any], Iterator[Contradiction]]


ENGINES: Mapping[str, Engine] = {
    "sft": Engine(llamafactory, llamafactory_log, SUPERVISED_KEYS, sft.contradictions),
    "dpo": Engine(llamafactory, llamafactory_log, PREFERENCE_KEYS, dpo.contradictions),
    "rl": Engine(verl, verl_log, VERL_KEYS, rl.contradictions),
}
"""Kind of a stage -> its engine."""


def of_kind(kind: str) -> Engine:
    """Raises ConfigError: this version has no such kind, which a run of another version may have."""
    config_type(kind)
    return ENGINES[kind]


def changes(
    kind: str, config: Any, published: Mapping[str, Any], origins: Mapping[str, str], name: str
) -> tuple[Change, ...]:
    """Where the engine gets other values than the published ones, before weights and rows are looked for."""
    return of_kind(kind).plan.plan(config, place_before(config, name), published, origins).changes


def faults(kind: str, config: Any, origins: Mapping[str, str] = {}) -> Iterator[Fault]:
    """Everything that is wrong with the keys of `engine` that a stage has, and with its settings together."""
    engine = of_kind(kind)
    yield from engine.keys.faults(config.engine, origins)
    yield from (Fault((setting,), message, hint) for setting, message, hint in engine.contradictions(config))
    if kind != "rl":
        yield from llamafactory.contradictions(config)
