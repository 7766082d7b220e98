"""Strategies: how the answer of a problem is found from several replies. Adding a strategy is adding a file.

A file has

    Options                         a Struct of what may be written behind its name, each with a default
    samples(options) -> int         how many answers it draws at most, of which each has a trace
    solve(asking, options) -> Solved

and, if solutions are to be graded,

    grades(options, graders) -> MakeGrader | None   what makes the grader, which `asking` then has

Its name is that of its file. A custom strategy is such a file, named by its path, or in a folder of `VIRC_PATH`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from virc.config.validation import faults
from virc.core import discovery, plugins
from virc.core.errors import ConfigError, UsageError, VircError
from virc.core.events import Reporter
from virc.core.text import clause, did_you_mean
from virc.models.load import Opened
from virc.solving.one import SolveConfig, Solved
from virc.solving.sampling.asking import Asking, Grader
from virc.solving.sampling.grading import NO_GRADERS, Graders, MakeGrader

_PACKAGE = "virc.solving.strategies"


class Module(Protocol):
    Options: type[msgspec.Struct]
    samples: Callable[[Any], int]
    solve: Callable[[Asking, Any], Solved]


class Strategy(msgspec.Struct, frozen=True):
    name: str
    options: msgspec.Struct

    @property
    def text(self) -> str:
        values: Mapping[str, object] = msgspec.to_builtins(self.options)
        written = ",".join(f"{key}={value}" for key, value in values.items() if value is not None)
        return f"{self.name}:{written}" if written else self.name

    @property
    def samples(self) -> int:
        found = module(self.name)
        with _run(found):
            return found.samples(self.options)


def names() -> tuple[str, ...]:
    return discovery.names(_PACKAGE)


def module(name: str) -> Module:
    if name in names():
        return cast(Module, discovery.module(_PACKAGE, name))
    file = plugins.custom(name)
    if file is None:
        what = "file" if plugins.is_path(name) else "strategy"
        raise UsageError(f"there is no {what} {name!r}", did_you_mean(name, names()))
    found = plugins.loaded(file)
    options = getattr(found, "Options", None)
    wrong = {
        "Options, a msgspec.Struct": not (isinstance(options, type) and issubclass(options, msgspec.Struct)),
        "samples(options)": not callable(getattr(found, "samples", None)),
        "solve(asking, options)": not callable(getattr(found, "solve", None)),
    }
    if lacking := [part for part, is_wrong in wrong.items() if is_wrong]:
        raise ConfigError(f"{file} is not a strategy: it has no {'; no '.join(lacking)}")
    return cast(Module, found)


@contextmanager
def _run(found: Module) -> Iterator[None]:
    try:
        yield
    except VircError:
        raise
    except (Exception, SystemExit) as error:
        file = Path(getattr(found, "__file__", ""))
        if file.parent == Path(__file__).parent:
            raise
        line = plugins.line_in(file, error)
        where = f"line {line} of {file}" if line else str(file)
        message = f"the strategy fails in {where}: {type(error).__name__}: {clause(error)}"
        raise ConfigError(message, "VIRC_DEBUG=1 shows where") from error


def parse(text: str) -> Strategy:
    """A strategy as it is written: `NAME`, or `NAME:key=value,key=value`."""
    name, _, rest = text.partition(":")
    found = module(name)
    given = dict(_given(text, rest))
    for fault in faults(given, found.Options, noun="option"):
        usual = Strategy("", found.Options()).text.removeprefix(":")
        raise UsageError(f"strategy {name}: {fault.message}", fault.hint or f"options: {usual}")
    return Strategy(name, msgspec.convert(given, found.Options, strict=False))


def _given(text: str, rest: str) -> Iterator[tuple[str, str]]:
    known = set[str]()
    for each in rest.split(",") if rest else ():
        key, equals, value = each.partition("=")
        if not equals or not key or not value:
            raise UsageError(f"strategy {text!r}: {each!r} is no option", "NAME:key=value,key=value")
        if key in known:
            raise UsageError(f"strategy {text!r} has {key} twice", "leave one out")
        known.add(key)
        yield key, value


def resolved(config: SolveConfig, graders: Graders = NO_GRADERS) -> SolveConfig:
    if config.strategy is None:
        return config
    strategy = parse(config.strategy)
    if config.samples != 1:
        raise UsageError("samples and a strategy are given, which says how many it draws", "leave --samples out")
    if config.temperature == 0 and strategy.samples > 1:
        raise UsageError("at temperature 0 all samples of a problem are the same", "--temperature 1")
    maker = _maker(strategy, graders)
    judge = f"{graders.judge_model or 'its model'} at {graders.judge}" if maker and graders.judge else None
    return msgspec.structs.replace(config, strategy=strategy.text, samples=strategy.samples, judge=judge)


def grades(config: SolveConfig, graders: Graders) -> bool:
    return config.strategy is not None and _maker(parse(config.strategy), graders) is not None


def _maker(strategy: Strategy, graders: Graders) -> MakeGrader | None:
    module_ = module(strategy.name)
    make = getattr(module_, "grades", None)
    with _run(module_):
        found: MakeGrader | None = make(strategy.options, graders) if make else None
    return found


@contextmanager
def grader_of(config: SolveConfig, graders: Graders, opened: Opened, report: Reporter) -> Iterator[Grader | None]:
    maker = _maker(parse(config.strategy), graders) if config.strategy else None
    if maker is None:
        yield None
        return
    with closing(maker(opened, report)) as grader:
        yield grader


def solve(asking: Asking) -> Solved:
    began, config = time.monotonic(), asking.config
    if config.strategy is None:
        return asking.by_vote()
    strategy = parse(config.strategy)
    found = module(strategy.name)
    with _run(found):
        solved: object = found.solve(asking, strategy.options)
    if not isinstance(solved, Solved):
        kind = type(solved).__name__
        raise ConfigError(
            f"solve() of the strategy {strategy.name} returns {kind}", "return what asking.by_vote() gives"
        )
    return msgspec.structs.replace(solved, seconds=round(time.monotonic() - began, 3))
