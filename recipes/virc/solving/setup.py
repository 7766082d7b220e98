"""The model and the settings of one call, from flags, environment and config file."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.config import user as config
from virc.config.validation import check_arguments, fields_given
from virc.core.errors import UsageError, VircError
from virc.core.events import Reporter
from virc.models import chat_protocol
from virc.models import registry as models
from virc.models.costs import Prices, read_prices
from virc.models.load import REPLY_SECONDS, Choice, Opened, choice_of, open_model, unlisted_here
from virc.reasoning.media import MediaChoice, media_choice
from virc.reasoning.protocol import FILE_NAME, UNITS
from virc.solving.asking import NO_GRADERS, Graders
from virc.solving.one import SolveConfig
from virc.solving.outcome import Fields, facts, settings
from virc.solving.strategies import registry as strategies
from virc.systems import registry as systems

OnFacts = Callable[[Fields], None]
"""Gets fields of the output as soon as they are known, also of a call that fails later."""

_RANKS = ("default", "file", "env", "flag")
_PLACES = ("", "the config file", "the environment")
# The hub's library reads them once, when it is imported.
_OFFLINE = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}


class Setup(msgspec.Struct, frozen=True):
    """Which model is asked, and how.

    Args:
        opened: a model that is open already, in place of `choice`.
        or_here: whether a model that the endpoint does not list is loaded in this process, if it is on this machine.
        graders: what grades solutions, if the strategy has them graded.
        prices: by which replies are paid; None: as their server says.
        notes: sentences and hints on settings that are not used.
    """

    choice: Choice
    config: SolveConfig
    trace: Path | None = None
    offline: bool = False
    opened: Opened | None = None
    graders: Graders = NO_GRADERS
    or_here: bool = False
    prices: Prices | None = None
    notes: tuple[tuple[str, str], ...] = ()

    def with_exact_words(self) -> "Setup":
        """For training and evaluation: systems are asked in the words of their authors, or not at all."""
        return msgspec.structs.replace(self, choice=msgspec.structs.replace(self.choice, exact_words=True))

    def config_of(self, model: str) -> SolveConfig:
        """The config, with the price of that model. Raises ConfigError: it has none among the prices."""
        return msgspec.structs.replace(self.config, price=self.prices.of(model)) if self.prices else self.config


def set_up(flags: Mapping[str, Any], graders: Graders = NO_GRADERS) -> Setup:
    """Complete the options of a command by environment and config file, and read prices; nothing is loaded yet."""
    os.environ.update(_OFFLINE)
    temperature, protocol, trace, prices = (flags.get(name) for name in ("temperature", "protocol", "trace", "prices"))
    if temperature is not None and not 0 <= temperature <= 2:
        raise UsageError(f"«--temperature» must be from 0 to 2, not {temperature}")
    if protocol is not None and flags.get("family") is not None:
        raise UsageError("«--protocol» and «--family» both choose the chat protocol", "leave one out")
    found = config.chosen(flags)
    values = config.values(found)
    config.check_endpoint(found, values.endpoint)
    # a model from farther away than the endpoint, say from the config file, does not belong to it
    ranks = {name: _RANKS.index(found[name].source.partition(" ")[0]) for name in ("model", "endpoint")}
    shared = fields_given(Choice, msgspec.structs.asdict(values))
    own = {"timeout": values.timeout or REPLY_SECONDS, "protocol": protocol}
    own |= {"tools": chat_protocol.added(flags.get("tools") or ()), "ignore": tuple(flags.get("ignore") or ())}
    notes = [config.unread_variables(os.environ)]
    if values.endpoint and values.model and ranks["model"] < ranks["endpoint"]:
        own["model"] = None
        sentence = (
            f"the model {values.model} of {_PLACES[ranks['model']]} is not asked for: the endpoint is named nearer"
        )
        notes.append((sentence, f"«--model {values.model}»"))
    limits = {"timeout": values.timeout, "max_tokens": values.max_tokens, "keep_images": trace is not None}
    solving = strategies.resolved(SolveConfig(**fields_given(SolveConfig, flags) | limits | _media(flags)), graders)
    return Setup(
        Choice(**shared | own), solving, Path(trace) if trace else None, flags.get("offline", False),
        graders=graders, prices=read_prices(prices) if prices else None, notes=tuple(filter(None, notes)),
    )  # fmt: skip


def setup_of(model: str | Path | Opened | None, options: Mapping[str, Any], graders: Graders) -> Setup:
    """The setup for options of a Python caller. Raises UsageError: one is wrong, or chooses a model that is open."""
    opened = model if isinstance(model, Opened) else None
    of_choice = fields_given(Choice, options) | ({"timeout": None} if opened else {})  # an open model has its own
    choice = choice_of(None if isinstance(model, Opened) else model, **of_choice)
    if opened and choice != Choice():
        raise UsageError("a loaded model is chosen already", "give endpoint=, protocol= and the like to load()")
    chosen = SolveConfig(**fields_given(SolveConfig, options) | _media(options))
    check_arguments(chosen, without=("tolerate", "media"))
    trace, prices = options.get("trace"), options["prices"]
    return Setup(
        choice, strategies.resolved(chosen, graders), Path(trace) if trace else None, options["offline"], opened,
        graders=graders, prices=read_prices(str(prices)) if prices else None,
    )  # fmt: skip


def _media(options: Mapping[str, Any]) -> dict[str, MediaChoice]:
    return {"media": media_choice(*map(options.get, ("page", "at", "fps", "frames")))}


def finds_pictures(choice: Choice, workspace: Path = Path()) -> bool:
    """Whether a question may come without a picture, as far as that is known before the model is opened: its system,
    its chat protocol or that next to its weights offers a tool that finds pictures.
    """
    try:
        if choice.protocol not in (None, chat_protocol.DEFAULT):
            return not chat_protocol.needs_picture(chat_protocol.read_protocol(Path(choice.protocol or "")))
        if choice.system or choice.endpoint:
            system = systems.get(choice.system) if choice.system else models.known(choice.model or "")[0]
            return system is not None and not chat_protocol.needs_picture(chat_protocol.of_system(system))
        weights = models.find(choice.model, workspace, with_gguf=True)
        return not chat_protocol.needs_picture(chat_protocol.of_weights(weights))
    except VircError:
        return False


def _opened(setup: Setup, report: Reporter) -> Opened:
    choice = setup.choice
    if choice.endpoint and setup.or_here and (local := unlisted_here(choice)):
        report.note(f"{choice.endpoint} does not list {choice.model}, which is on this machine: it is loaded here")
        choice = local
    if choice.endpoint:
        return open_model(choice)
    report.start(f"loading the model {choice.model or models.default(choice.system)}")
    return open_model(choice)


def open_setup(setup: Setup, report: Reporter, on_facts: OnFacts, resolved: bool = False) -> tuple[Opened, Fields]:
    """Open the model and report how it is asked; returns it with the fields of the output that describe it.

    Args:
        resolved: a model that has to be asked how it counts boxes is asked now, and its system message says so; else
            before its first crop.
    """
    on_facts({"settings": settings(setup.config, setup.choice.max_pixels), "model": setup.choice.model})
    opened = setup.opened or _opened(setup, report)
    if resolved and opened.calibration:
        report.start(f"asking {opened.name} how it counts boxes")
        opened = opened.with_resolved_setup()
    if opened.family:
        unit = "before its first crop it is asked how it counts boxes"
        unit = f"boxes in {UNITS[opened.coordinates]}" if opened.coordinates else unit
        report.note(f"{opened.name} is asked as {opened.family} ({opened.why}): {unit}")
    elif opened.why.endswith(FILE_NAME):
        report.note(f"{opened.name} is asked by the chat protocol {opened.why}")
    for warning in opened.warnings:
        report.warn(warning)
    for sentence, hint in setup.notes:
        report.warn(sentence, hint)
    for sentence in opened.left.sentences():
        report.note(sentence)
    known = facts(opened, setup.config)
    on_facts(known)
    return opened, known
