"""Strategies: how the answer of a problem is found from several replies. Adding a strategy is adding a file.

A file has

    Options                         a Struct of the options that may follow its name, each with a default
    samples(options) -> int         the most answers that it draws; each has a trace
    solve(asking, options) -> Solved

and, if solutions are to be graded,

    grades(options, graders) -> MakeGrader | None   makes the grader, which is then `asking.grader`

Its name is that of its file, or of its entry point in the group `virc.strategies` of an installed package. A custom
strategy is such a file, named by its path, or in a folder of `VIRC_PATH`.
"""

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from virc.config.validation import faults
from virc.core import entry_points, plugins
from virc.core.errors import ConfigError, UsageError, VircError
from virc.core.events import Reporter
from virc.core.text import clause, did_you_mean
from virc.models.load import Opened
from virc.solving.asking import NO_GRADERS, Asking, Grader, Graders, MakeGrader
from virc.solving.one import SolveConfig, Solved

_PACKAGE = "virc.solving.strategies"
_GROUP: entry_points.Group = "virc.strategies"


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
        strategy_module = module(self.name)
        with _named_errors(strategy_module):
            return strategy_module.samples(self.options)


def names() -> list[str]:
    return sorted(_built_in())


def _built_in() -> Mapping[str, str]:
    return plugins.built_in(_PACKAGE, _GROUP)


def module(name: str) -> Module:
    if found := _built_in().get(name):
        return cast(Module, importlib.import_module(found))
    entry_points.check_installed(_GROUP, name, "strategy")
    file = plugins.custom(name, group=_GROUP)
    if file is None:
        what = "file" if plugins.is_path(name) else "strategy"
        raise UsageError(f"there is no {what} {name!r}", did_you_mean(name, names()))
    custom = plugins.loaded(file)
    options = getattr(custom, "Options", None)
    has = {
        "Options, a msgspec.Struct": isinstance(options, type) and issubclass(options, msgspec.Struct),
        "samples(options)": callable(getattr(custom, "samples", None)),
        "solve(asking, options)": callable(getattr(custom, "solve", None)),
    }
    if lacking := [part for part, is_there in has.items() if not is_there]:
        raise ConfigError(f"{file} is not a strategy: it has no {'; no '.join(lacking)}")
    return cast(Module, custom)


@contextmanager
def _named_errors(strategy_module: Module) -> Iterator[None]:
    """Raise an exception of a custom strategy as a ConfigError with the line of its file."""
    try:
        yield
    except VircError:
        raise
    except (Exception, SystemExit) as error:
        if getattr(strategy_module, "__name__", "") in _built_in().values():
            raise
        file = Path(getattr(strategy_module, "__file__", ""))
        line = plugins.line_in(file, error)
        where = f"line {line} of {file}" if line else str(file)
        message = f"the strategy fails in {where}: {type(error).__name__}: {clause(error)}"
        raise ConfigError(message, "«VIRC_DEBUG=1» shows where") from error


def parse(text: str) -> Strategy:
    """The strategy of a text `NAME`, or `NAME:key=value,key=value`."""
    name, _, rest = text.partition(":")
    options_type = module(name).Options
    given = _given_options(text, rest)
    for fault in faults(given, options_type, noun="option"):
        usual = Strategy("", options_type()).text.removeprefix(":")
        raise UsageError(f"strategy {name}: {fault.message}", fault.hint or f"options: {usual}")
    return Strategy(name, msgspec.convert(given, options_type, strict=False))


def _given_options(text: str, rest: str) -> dict[str, str]:
    given = dict[str, str]()
    for each in rest.split(",") if rest else ():
        key, equals, value = each.partition("=")
        if not equals or not key or not value:
            raise UsageError(f"strategy {text!r}: {each!r} is no option", "NAME:key=value,key=value")
        if key in given:
            raise UsageError(f"strategy {text!r} has {key} twice", "leave one out")
        given[key] = value
    return given


def resolved(config: SolveConfig, graders: Graders = NO_GRADERS) -> SolveConfig:
    """A configuration with its strategy in full, and the samples and the judge of that strategy."""
    if config.strategy is None:
        return config
    strategy = parse(config.strategy)
    if config.samples != 1:
        raise UsageError("samples and a strategy are given, which says how many it draws", "leave «--samples» out")
    if config.temperature == 0 and strategy.samples > 1:
        raise UsageError("at temperature 0 all samples of a problem are the same", "«--temperature 1»")
    maker = _maker(strategy, graders)
    judge = f"{graders.judge_model or 'its model'} at {graders.judge}" if maker and graders.judge else None
    return msgspec.structs.replace(config, strategy=strategy.text, samples=strategy.samples, judge=judge)


def grades(config: SolveConfig, graders: Graders) -> bool:
    return config.strategy is not None and _maker(parse(config.strategy), graders) is not None


def _maker(strategy: Strategy, graders: Graders) -> MakeGrader | None:
    strategy_module = module(strategy.name)
    grades_of = getattr(strategy_module, "grades", None)
    with _named_errors(strategy_module):
        maker: MakeGrader | None = grades_of(strategy.options, graders) if grades_of else None
    return maker


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
    strategy_module = module(strategy.name)
    with _named_errors(strategy_module):
        solved: object = strategy_module.solve(asking, strategy.options)
    if not isinstance(solved, Solved):
        sentence = f"solve() of the strategy {strategy.name} returns {type(solved).__name__}"
        raise ConfigError(sentence, "return what asking.by_vote() gives")
    return msgspec.structs.replace(solved, seconds=round(time.monotonic() - began, 3))
