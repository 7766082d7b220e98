"""Our figures compared with published ones, and which settings differ."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import ConfigError, UsageError
from virc.core.web import html
from virc.evaluation.assumed import origin
from virc.evaluation.columns import Column, Evaluated, Fields
from virc.evaluation.pages import figures
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import ModelSummary, Score, Summary
from virc.runs import run as runs
from virc.runs.run import Run
from virc.solving.setup import Setup
from virc.systems.registry import Figures


class Reported(msgspec.Struct, frozen=True):
    """A published figure and ours: `theirs` is a share, 0 to 1; `differs` maps a setting to (theirs, ours)."""

    model: str
    published: str
    source: str
    theirs: float | None
    ours: Score
    differs: Mapping[str, tuple[Any, Any]]

    @property
    def is_undecided(self) -> bool:
        """Whether undecided answers decide which of the two is higher."""
        low, high = self.ours.bounds
        return self.theirs is not None and low < high and low <= self.theirs <= high


class Published(msgspec.Struct, frozen=True):
    """What the file of a model's system reports; `short` is the model's name there, None for a custom model."""

    reported: Figures
    system: str
    short: str | None
    run: Run | None


def published_for(model: str, workspace: Path, system: str | None) -> Published:
    """The published figures of a model's system; a ConfigError if there are none, or the system is not known."""
    found, short, run = origin(model, workspace, system)
    if found is None:
        raise ConfigError(f"which system {model} belongs to is not known", "«--system SYSTEM»")
    if found.reported is None:
        raise ConfigError(
            f"no published figures stand in the file of {found.name}",
            "`reported:` in a YAML of your own has them: «--system FILE»",
        )
    return Published(found.reported, found.name, short, run)


def compared(model: ModelSummary, benchmark: str, published: Published) -> Iterator[Reported]:
    reported, short, run = published.reported, published.short, published.run
    differs = {key: pair for key, pair in _settings(model, reported.settings, run) if pair[0] != pair[1]}
    # a custom model is compared with all figures of the source, a published one with its own
    names = [name for name in reported.figures if short not in reported.figures or name == short]
    found = {name: reported.figures[name].get(benchmark) for name in names} or {short or published.system: None}
    for name, percent in found.items():
        theirs = None if percent is None else percent / 100
        yield Reported(model.name, name, reported.source, theirs, model.score, differs)


def _settings(model: ModelSummary, theirs: Mapping[str, Any], run: Run | None) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for key, value in theirs.items():
        yield key, (value, model.settings.get(key))
    if run:
        info = runs.info(run)
        yield "trained with", ("as published", ", ".join(info.overlays) or f"{info.base}, {info.rows} rows")


class Against(Column):
    """The published figures of each model that was asked, if `asked`."""

    place = "last"
    title = "Published figures"

    def __init__(self, asked: bool) -> None:
        self._asked = asked

    def check_model(self, model: str, setup: Setup) -> None:
        if self._asked:
            published_for(model, Path.cwd(), setup.choice.system)

    def of_evaluation(self, evaluated: Evaluated) -> Fields:
        summary, systems = evaluated.summary, evaluated.systems if self._asked else {}
        found = [
            each
            for model in summary.models
            if model.name in systems
            for each in compared(model, summary.benchmark, published_for(model.name, Path.cwd(), systems[model.name]))
        ]
        return {"against": found}

    def lines(self, summary: Summary) -> Iterator[str]:
        for at, each in enumerate(summary.columns["against"]):
            yield from ("",) if at else ()
            yield from _lines(each)

    def section(self, summary: Summary, places: Mapping[Any, int]) -> str:
        found = summary.columns["against"]
        return html.part("virc_extras:studies/against", against=found, figures=figures) if found else ""


def column(given: bool | None, request: EvalRequest) -> Column:
    if given and any(setup.config.strategy for setup in request.setups):
        raise UsageError(
            "«--against» compares a model as it was published, without a strategy", "leave «--strategy» out"
        )
    if given and len({setup.config.seed for setup in request.setups}) > 1:
        raise UsageError("«--against» compares a model as it was published, with one seed", "leave «--seeds» out")
    return Against(bool(given))


def _lines(each: Reported) -> Iterator[str]:
    theirs = "no figure" if each.theirs is None else figures.percent(each.theirs)
    ours = f"{each.model}: {figures.shares(each.ours)} ({figures.interval(each.ours)}{figures.undecided(each.ours)})"
    settled = "; undecided which is higher" if each.is_undecided else ""
    yield f"{ours}; {each.published}: {theirs}, {each.source}{settled}"
    for name, (their, our) in each.differs.items():
        yield f"  {name}: {their} there, {our} here"
