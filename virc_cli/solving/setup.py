"""The model and the settings of one call, from flags, environment and config file."""

import math
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from virc_cli import output
from virc_recipes import config
from virc_recipes.config import Setting, Value
from virc_recipes.errors import UsageError, VircError
from virc_recipes.models import REAL_MODELS
from virc_recipes.opened import REPLY_SECONDS, Choice, Opened, open_model
from virc_recipes.solve import Attempt, SolveConfig, Solved, total
from virc_recipes.trace_files import check_folder, write_trace

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
) -> Setup:
    """Complete the flags by environment and config file; nothing is loaded yet.

    Raises:
        UsageError, ConfigError: a flag, a variable or the config file is wrong.
    """
    os.environ.update(_SILENT)  # before anything of the hub is imported: it reads them once
    if solving.temperature is not None and not 0 <= solving.temperature <= 2:
        raise UsageError(f"--temperature must be from 0 to 2, not {solving.temperature}")
    here = flags["endpoint"] == HERE
    asked = {**flags, "endpoint": None} if here else flags
    found = config.resolve(asked, os.environ, config.read(config.config_path(os.environ)))
    settings = config.values(found)
    endpoint = None if here else settings.endpoint
    choice = Choice(
        model=settings.model if endpoint is None or _at_least(found["model"], found["endpoint"]) else None,
        endpoint=endpoint,
        api_key=settings.api_key,
        system=settings.system,
        protocol=protocol,
        device=settings.device,
        max_pixels=settings.max_pixels,
        timeout=min(REPLY_SECONDS, settings.timeout or math.inf),
    )
    solving = msgspec.structs.replace(solving, timeout=settings.timeout, keep_images=trace is not None)
    return Setup(choice, solving, Path(trace) if trace else None, offline)


def open_chosen(setup: Setup) -> tuple[Opened, dict[str, object]]:
    """Open the model and say what the user should know.

    Returns:
        The model, and what the output says of it: model, protocol, device, settings.
    """
    output.know(settings=_settings(setup, setup.choice.max_pixels), model=setup.choice.model)
    opened = open_model(setup.choice)
    for warning in opened.warnings:
        output.warn(warning)
    known: dict[str, object] = {
        "model": opened.name,
        "protocol": opened.wording.origin,
        "device": opened.device,
        "settings": _settings(setup, opened.backend.grid.max_pixels),
    }
    output.know(**known)
    return opened, known


def outcome(solved: Solved) -> dict[str, object]:
    """What the output says of a problem: answer, turns, tokens and, of several samples, votes."""
    answers = [attempt.trace.answer for attempt in solved.attempts]
    chosen = next((one for one in solved.attempts if one.trace.answer == solved.answer), solved.attempts[-1])
    fields: dict[str, object] = {
        "answer": solved.answer,
        "turns": len(chosen.trace.units),
        "tokens": {
            "prompt": total(attempt.prompt_tokens for attempt in solved.attempts),
            "completion": total(attempt.completion_tokens for attempt in solved.attempts),
        },
    }
    if len(answers) > 1:
        counts = {answer: answers.count(answer) for answer in answers}
        ranked = sorted(counts.items(), key=lambda vote: (vote[0] is None, -vote[1]))
        fields["votes"] = [{"answer": answer, "count": count} for answer, count in ranked]
    return fields


def failure_of(solved: Solved, opened: Opened) -> BaseException | None:
    """The error that stands for an answer, with the way to a real model where it was the embedded one's."""
    error = solved.error
    if isinstance(error, VircError) and error.kind == "no_answer" and opened.embedded:
        error.hint = REAL_MODELS
    return error


def trace_folders(folder: Path, config: SolveConfig) -> list[Path]:
    """Where the trace of each sample goes: the folder itself if there is but one.

    Raises:
        UsageError: a folder holds something else than a trace.
    """
    samples = range(1, config.samples + 1)
    folders = [folder / f"sample-{number}" for number in samples] if config.samples > 1 else [folder]
    for each in folders:
        check_folder(each)
    return folders


def write_traces(
    folders: Sequence[Path], attempts: Sequence[Attempt], setup: Setup, known: Mapping[str, object]
) -> None:
    """Write the trace of every attempt, finished or not.

    Raises:
        VircError: the disk refuses.
    """
    settings = known["settings"]
    assert isinstance(settings, dict)
    meta = {
        "model": known["model"],
        "device": known["device"],
        "sampling": {**settings, "tries": msgspec.to_builtins(setup.config.samplings(0))},
        "versions": {name: found for name in ("virc", "torch", "transformers") if (found := _version(name))},
    }
    for folder, attempt in zip(
        folders, attempts, strict=False
    ):  # a sample that was broken off has no successor
        write_trace(folder, attempt.trace, attempt.images, meta)


def _at_least(one: Setting, other: Setting) -> bool:
    """Whether a setting was made as near to the command line as another, so that the two belong together."""
    rank, against = (_RANKS.index(setting.source.partition(" ")[0]) for setting in (one, other))
    return rank >= against


def _settings(setup: Setup, max_pixels: int | None) -> dict[str, object]:
    return {
        "max_pixels": max_pixels,
        "max_turns": setup.config.max_turns,
        "timeout": setup.config.timeout,
        "temperature": setup.config.first_temperature,
        "seed": setup.config.seed,
        "samples": setup.config.samples,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
