"""Rewards: terms, and totals, plain functions of terms.

The built-in terms are the functions in `rewards/terms`; a term of your own is a file that defines

    NAME: str                                       what totals read it by
    score(sample, context) -> float | None            None where the term does not apply; `async` where it asks a judge

`sample` is a `rewards.sample.Sample`: the reply, its turn or fault, the prompt with its images and columns. `context`
is a `rewards.context.RewardContext`. A term that cannot be had without what is not there (a judge, a column) raises
`UnscoredError`; what it says of its value it puts into `sample.why[NAME]`.

A total file defines

    TERMS: tuple[str, ...]                          the terms it reads
    total(t) -> float                               `t.NAME` is a term's value, `t.turn` "answer", "tool" or None

and may define

    whole(units, t) -> float                        the reward of a whole rollout
    group(rewards, ts) -> list[float]               the rewards of all rollouts of one prompt, in the place of `rewards`

of which `rollouts` says more. The total `weighted` takes its weights from the system's YAML, and any total without a
`group` takes one from there, of the rules in `group_rules.py` of packages of systems.

A term may also be a function in the file of the total that reads it, or a question to a judge (`rewards.question`). A
function that asks a judge is marked by `question.asks`.

Built-in ones and those of published systems are found first, then files next to the YAML of the system that names them,
then in the folders of `VIRC_PATH`, then in installed packages (`core.plugins`); Python of others is loaded only where a
system names it.
"""

import asyncio
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import msgspec

from virc.core import plugins
from virc.core.errors import ConfigError, VircError
from virc.core.files import is_file
from virc.core.limits import guarded
from virc.core.text import clause, did_you_mean, plain
from virc.rewards.context import JUDGE, RewardContext, UnscoredError
from virc.rewards.question import Asks, Question
from virc.rewards.sample import Sample
from virc.rewards.terms import TERMS, Score
from virc.systems.registry import Reward

WEIGHTED = "weighted"
"""The total that a system's YAML makes, by its weights."""
_MORE = {
    "whole": "whole(units, t) gives the reward of a rollout",
    "group": "group(rewards, ts) gives the rewards of all rollouts of a prompt",
}

_TERMS, _TOTALS = "virc.rewards.terms", "virc.rewards.totals"


class Term(msgspec.Struct, frozen=True):
    """A term by its name, what it is (one line), and its file; `question`: what it asks a judge, of such a term."""

    name: str
    score: Score
    about: str
    file: Path
    question: Question | None = None

    @property
    def asks(self) -> Asks | None:
        return Asks(self.question.judge, self.question) if self.question else getattr(self.score, "asks", None)


class Total(msgspec.Struct, frozen=True):
    """A total by its name, the terms it reads, what it is (one line), its file; `whole` and `group` are of rollouts."""

    name: str
    terms: Sequence[Term]
    total: Callable[["Terms"], float]
    about: str
    file: Path
    whole: Callable[[Sequence[float], "Terms"], float] | None = None
    group: Callable[[Sequence[float], Sequence["Terms"]], Sequence[float]] | None = None


class Terms:
    """The values of terms by their names, which a total reads, and the `turn` of the reply; None where not taken."""

    def __init__(self, turn: str | None, values: Mapping[str, float | None], unscored: Mapping[str, str]) -> None:
        self.turn, self._values, self._unscored = turn, values, unscored

    def __getattr__(self, name: str) -> Any:
        if name in self._unscored:
            raise UnscoredError(self._unscored[name])
        if name not in self._values:
            raise AttributeError(f"TERMS does not name {name!r}; {did_you_mean(name, ('turn', *self._values))}")
        return self._values[name]


class Scored(msgspec.Struct, frozen=True):
    """The reward of a reply; None values mean that a term does not apply or could not be had.

    `why` has the reasons of terms for their values, `unscored` why terms could not be had.
    """

    total: float | None
    terms: Mapping[str, float | None]
    why: Mapping[str, str]
    unscored: Mapping[str, str]


def discover() -> tuple[list[Term], list[Total]]:
    return [_built_in(name) for name in _term_names()], [find(name) for name in total_names()]


def of(reward: Reward, beside: Path | None = None) -> Total:
    """The total of a system's reward. Raises ConfigError: it is not public, is missing or wrong, or has no weights."""
    if fault := lacking(reward, beside):
        raise fault
    if reward.total is None:
        sentence = f"the reward of this system is not public: {plain(reward.supply or '', 200)}"
        raise ConfigError(sentence, "«--set reward.total=./mine.py»; virc rewards ls shows some")
    total = find(reward.total, beside)
    for term in total.terms:
        if term.asks and term.asks.judge not in (JUDGE, *reward.judges):
            near = did_you_mean(term.asks.judge, (JUDGE, *reward.judges))
            raise ConfigError(f"{term.name} of {term.file} asks {term.asks.judge!r}, and reward.judges has none", near)
    if reward.group:
        if total.group:
            sentence = f"the total {reward.total} rewrites the rewards of a group itself, and reward.group is set"
            raise ConfigError(sentence, "remove reward.group")
        total = msgspec.structs.replace(total, group=partial(_by_rules, weights=reward.group))
    if reward.total != WEIGHTED:
        return total
    module = plugins.module_of(_TOTALS, WEIGHTED)
    terms = [*_terms(module, _weighed(reward), plugins.folders(beside))]
    function = partial(module.total, weights=reward.weights, gate=reward.gate)
    return msgspec.structs.replace(total, terms=terms, total=function)


def _by_rules(rewards: Sequence[float], ts: Sequence[Any], weights: Mapping[str, float]) -> list[float]:
    """The sum of rules for groups, each times its weight."""
    values = [(weight, plugins.group_rules()[name](rewards, ts)) for name, weight in weights.items()]
    return [sum(weight * each[at] for weight, each in values) for at in range(len(rewards))]


def _weighed(reward: Reward) -> list[str]:
    return list(dict.fromkeys((*([reward.gate] if reward.gate else []), *reward.weights)))


def find(name: str, beside: Path | None = None) -> Total:
    """A total by its name or absolute path, with its terms; `of` is for the reward of a system."""
    if fault := missing(name, beside):
        raise fault
    folders = plugins.folders(beside)
    if name in plugins.module_names(_TOTALS):
        return _total(plugins.module_of(_TOTALS, name), name, folders)
    of_system = plugins.totals().get(name) or plugins.file_of(name, folders, "virc.rewards")
    file = Path(name) if plugins.is_path(name) else of_system
    assert file
    return _total(plugins.loaded(file), Path(name).stem, folders)


def missing(name: str, beside: Path | None = None) -> ConfigError | None:
    """Why there is no total of that name, None where there is one; nothing outside this package is loaded for it."""
    if plugins.is_path(name):
        return None if is_file(name) else ConfigError(f"there is no file {name}", "virc rewards ls")
    if name in total_names() or plugins.file_of(name, plugins.folders(beside), "virc.rewards"):
        return None
    return ConfigError(f"there is no reward {name!r}", did_you_mean(name, total_names()))


def located(reward: Reward) -> Reward:
    """The reward with the file of its total where a published system has that, to be found from source as well."""
    file = plugins.totals().get(reward.total or "")
    return msgspec.structs.replace(reward, total=str(file)) if file else reward


def lacking(reward: Reward, beside: Path | None = None) -> ConfigError | None:
    """What a reward lacks to be what its fields say, None where it lacks nothing; nothing is loaded for it."""
    if unknown := next((name for name in reward.group if name not in plugins.group_rules()), None):
        return ConfigError(f"there is no rule {unknown!r} for groups", did_you_mean(unknown, plugins.group_rules()))
    if reward.total is None:
        hint = 'supply: "what is not public"'
        return None if reward.supply else ConfigError("reward.total is null, and nothing says why", hint)
    if reward.total != WEIGHTED:
        for name, nothing in (("weights", "{}"), ("gate", "null")):
            if getattr(reward, name):
                message = f"reward.{name} is of the total {WEIGHTED}, not of {reward.total}"
                return ConfigError(message, f"remove it, or «--set reward.{name}={nothing}»")
        return missing(reward.total, beside)
    if not reward.weights:
        return ConfigError(f"the total {WEIGHTED} has no weights", "weights: {answer: 0.8, format: 0.2}")
    known, folders = _term_names(), plugins.folders(beside)
    absent = [
        name for name in _weighed(reward) if name not in known and not plugins.file_of(name, folders, "virc.rewards")
    ]
    return ConfigError(f"there is no term {absent[0]!r}", did_you_mean(absent[0], known)) if absent else None


async def score(sample: Sample, total: Total, context: RewardContext) -> Scored:
    """The reward of a reply; terms that ask a judge do so at the same time.

    Where the published program raises, and its checks decide, the reward is 0, as its reward manager gives it.

    Raises:
        NetworkError: the judge is down and stays so.
        ConfigError: the judge refuses; or a term or total gives what is no number.
        DataError: the row lacks what a term needs of every row, or an image of it cannot be read.
    """
    if sample.raised:
        none = dict.fromkeys(each.name for each in total.terms)
        return Scored(0.0, none, {"format": f"the published program raises: {sample.fault}"}, {})
    found = await _values(sample, total.terms, context)
    unscored = {name: str(lacking) for name, lacking in found.items() if isinstance(lacking, UnscoredError)}
    values = {name: None if isinstance(each, UnscoredError) else each for name, each in found.items()}
    whole: float | None
    try:
        whole = called(total.total, total.file, Terms(sample.kind, values, unscored))
    except UnscoredError:
        whole = None
    return Scored(whole, values, sample.why, unscored)


def called(function: Callable[..., float], file: Path, *arguments: object) -> float:
    try:
        return cast(float, _number(function(*arguments), "total", file))
    except (UnscoredError, VircError):
        raise
    except (Exception, SystemExit) as error:
        terms = next((each for each in arguments if isinstance(each, Terms)), None)
        none = [name for name, value in terms._values.items() if value is None] if terms else []
        if terms and none and isinstance(error, TypeError):  # it calculates with a term that does not apply
            hint = f"in a reply whose t.turn is {terms.turn!r}, these terms are None: {', '.join(none)}"
            raise _broken(file, error, hint) from error
        raise _broken(file, error) from error


def called_for_all(
    group: Callable[..., Sequence[float]], file: Path, values: Sequence[float], terms: Sequence[Terms]
) -> list[float]:
    try:
        found = [*group(list(values), list(terms))]
    except VircError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(file, error) from error
    if len(found) != len(values):
        raise ConfigError(f"group of {file} gives {len(found)} rewards for {len(values)} rollouts")
    return [cast(float, _number(each, "group", file)) for each in found]


async def _values(
    sample: Sample, terms: Sequence[Term], context: RewardContext
) -> dict[str, float | UnscoredError | None]:
    async def value(term: Term) -> float | UnscoredError | None:
        try:
            found = term.score(sample, context)
            return _number(await found if inspect.isawaitable(found) else found, term.name, term.file)
        except UnscoredError as lacking:
            return lacking
        except VircError:
            raise
        except KeyError as error:  # most likely a column, as rows of another dataset have others
            columns = ", ".join(sample.prompt.columns) or "none"
            raise _broken(term.file, error, f"the row has these columns of its own: {columns}") from error
        except (Exception, SystemExit) as error:
            raise _broken(term.file, error) from error

    # a task for each costs more than the terms themselves, where none waits for a judge
    found = (
        await asyncio.gather(*map(value, terms))
        if context.judge or context.judges
        else [await value(term) for term in terms]
    )
    return {term.name: each for term, each in zip(terms, found, strict=True)}


def _broken(file: Path, raised: Exception | SystemExit, hint: str = "«VIRC_DEBUG=1» shows where") -> ConfigError:
    error = guarded.as_error(raised)
    line = plugins.line_in(file, error)
    where = f"line {line} of {file}" if line else str(file)
    return ConfigError(f"{where} fails: {type(error).__name__}: {clause(error)}", hint)


def _number(value: object, name: str, file: Path) -> float | None:
    if value is None and name not in ("total", "group"):
        return None
    try:  # of numpy, torch, fractions and decimal as well
        number = math.nan if isinstance(value, str | bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        hint = "each of its paths ends with `return` and a number" if value is None and name == "total" else None
        raise ConfigError(f"{name} of {file} gives {str(value)[:40]!r}, which is no number", hint)
    return number


@cache
def total_names() -> list[str]:
    """The names of all totals of this package and of published systems; none is loaded."""
    return sorted([*plugins.module_names(_TOTALS), *plugins.totals()])


@cache
def _term_names() -> list[str]:
    for kind in plugins.module_names(_TERMS):
        plugins.module_of(_TERMS, kind)
    return sorted(TERMS)


def _built_in(name: str) -> Term:
    function = TERMS[name]
    return Term(name, function, about(function), Path(inspect.getsourcefile(inspect.unwrap(function)) or ""))


def _term(name: str, folders: Sequence[Path]) -> Term | None:
    if name in _term_names():
        return _built_in(name)
    file = plugins.file_of(name, folders, "virc.rewards")
    if file is None:
        return None
    module = plugins.loaded(file)
    own, function = getattr(module, "NAME", None), getattr(module, "score", None)
    if not isinstance(own, str) or not callable(function):
        raise ConfigError(f"{file} is no term of a reward", "a term has NAME and score(sample, context)")
    return Term(own, function, about(module), Path(module.__file__ or ""))


def _total(module: ModuleType, name: str, folders: Sequence[Path]) -> Total:
    names, function = getattr(module, "TERMS", None), getattr(module, "total", None)
    file = module.__file__ or ""
    named = isinstance(names, tuple | list) and all(isinstance(each, str) for each in names)
    if trainer := _form_of_another(module):
        shown = 'TERMS = ("answer",), and def total(t): return t.answer or 0.0'
        raise ConfigError(f"{file} has the form of rewards of {trainer}: here a file has TERMS and total(t)", shown)
    if not named or names is None or not callable(function):
        raise ConfigError(f"{file} has no TERMS, a tuple of names, and total(t)", "virc rewards ls shows some")
    more = {each: getattr(module, each, None) for each in _MORE}
    for each, use in _MORE.items():
        if more[each] is not None and not callable(more[each]):
            raise ConfigError(f"{each} of {file} is no function", use)
    return Total(name, [*_terms(module, names, folders)], function, about(module), Path(file), **more)


_FORMS = {
    "TRL or ms-swift": {"completions"},
    "verl": {"solution_str", "ground_truth"},
    "EasyR1": {"reward_inputs"},
    "OpenRLHF": {"queries", "labels"},
    "verifiers": {"completion", "answer"},
}
"""Trainer -> parameters that functions of its rewards have."""


def _form_of_another(module: ModuleType) -> str | None:
    """The trainer whose rewards are written as a file is: by the parameters of its functions."""
    for function in vars(module).values():
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            names = inspect.signature(function).parameters.keys()
            if trainer := next((each for each, needed in _FORMS.items() if needed <= names), None):
                return trainer
    return None


def _terms(module: ModuleType, names: Sequence[str], folders: Sequence[Path]) -> Iterator[Term]:
    for name in names:
        own = getattr(module, name, None)
        if isinstance(own, Question):
            score = cast(Score, partial(own.score, name=name))
            yield Term(name, score, own.about, Path(module.__file__ or ""), own)
            continue
        if callable(own):
            score = cast(Score, guarded.called_as(own, f"{name}(sample, context)"))
            yield Term(name, score, about(own), Path(module.__file__ or ""))
            continue
        found = _term(name, folders)
        if found is None:
            sentence = f"{module.__file__} reads {name!r}, and there is no such term"
            own_names = [each for each, value in vars(module).items() if inspect.isfunction(value) and each != "total"]
            raise ConfigError(sentence, did_you_mean(name, {*_term_names(), *own_names}))
        yield found


def about(described: object) -> str:
    return (inspect.getdoc(described) or "").partition("\n")[0]
