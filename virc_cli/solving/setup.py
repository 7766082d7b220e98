"""The model and the settings of one call, from flags, environment and config file."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from virc.config import user as config
from virc.config.user import Setting, Value
from virc.core.errors import UsageError
from virc.models.chat_protocol import added
from virc.models.load import REPLY_SECONDS, Choice, Opened, open_model
from virc.reasoning.protocol import FILE_NAME, UNITS
from virc.solving.one import SolveConfig
from virc.solving.outcome import Fields, facts, settings
from virc_cli.console import output

HERE = "none"
"""What `--endpoint` says to ask no endpoint, whatever the config file names."""

_RANKS = ("default", "file", "env", "flag")
_SILENT = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}


class Setup(msgspec.Struct, frozen=True):
    """What is asked, and how."""

    choice: Choice
    config: SolveConfig
    trace: Path | None = None
    offline: bool = False


def set_up(
    flags: Mapping[str, Value | None],
    solving: SolveConfig,
    protocol: str | None,
    trace: str | None,
    offline: bool,
    tools: Iterable[str] = (),
) -> Setup:
    """Complete the flags by environment and config file; nothing is loaded yet.

    Raises:
        UsageError, ConfigError: a flag, a variable or the config file is wrong.
    """
    os.environ.update(_SILENT)  # before anything of the hub is imported: it reads them once
    if solving.temperature is not None and not 0 <= solving.temperature <= 2:
        raise UsageError(f"--temperature must be from 0 to 2, not {solving.temperature}")
    if protocol is not None and flags.get("family") is not None:
        raise UsageError("--protocol and --family both say how the model is asked", "leave one out")
    here = flags["endpoint"] == HERE
    asked = {**flags, "endpoint": None} if here else flags
    found = config.resolve(asked, os.environ, config.read(config.config_path(os.environ)))
    wanted = config.values(found)
    endpoint = None if here else wanted.endpoint
    choice = Choice(
        model=wanted.model if endpoint is None or _at_least(found["model"], found["endpoint"]) else None,
        endpoint=endpoint,
        api_key=wanted.api_key,
        system=wanted.system,
        protocol=protocol,
        device=wanted.device,
        max_pixels=wanted.max_pixels,
        timeout=wanted.timeout or REPLY_SECONDS,
        tools=added(tools),
        family=wanted.family,
    )
    solving = msgspec.structs.replace(
        solving, timeout=wanted.timeout, max_tokens=wanted.max_tokens, keep_images=trace is not None
    )
    return Setup(choice, solving, Path(trace) if trace else None, offline)


def open_chosen(setup: Setup) -> tuple[Opened, Fields]:
    """Open the model; what is said of it stands in the `--json` object, also if the command fails.

    Returns:
        The model, and what the output says of it.
    """
    output.know(settings=settings(setup.config, setup.choice.max_pixels), model=setup.choice.model)
    opened, known = open_one(setup)
    output.know(**known)
    return opened, known


def open_one(setup: Setup) -> tuple[Opened, Fields]:
    """Open one of several models, as `open_chosen` opens the only one."""
    opened = open_model(setup.choice)
    if opened.family:
        unit = UNITS[opened.chat_protocol.protocol.coordinates]
        output.note(f"{opened.name} is asked as {opened.family} ({opened.why}): boxes in {unit}")
    elif opened.why.endswith(FILE_NAME):
        output.note(f"{opened.name} is asked by the chat protocol {opened.why}")
    for warning in opened.warnings:
        output.warn(warning)
    return opened, facts(opened, setup.config)


def _at_least(one: Setting, other: Setting) -> bool:
    """Whether a setting was made as near to the command line as another, so that the two belong together."""
    rank, against = (_RANKS.index(setting.source.partition(" ")[0]) for setting in (one, other))
    return rank >= against
