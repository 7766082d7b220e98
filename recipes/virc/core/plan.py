"""What a command is going to start: plain values that can be printed before anything runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.files import write_whole


class Step(msgspec.Struct, frozen=True):
    """One process.

    Args:
        argv: program and arguments, handed over without a shell.
        says: what it does, for people; one clause.
        env: variables it gets in addition to those of this process; an empty value takes the variable away.
        is_engine: of this process's variables it gets those alone that engines, their libraries and keys need.
        saves_on: name of the signal that asks it to save its work and end; empty: it has nothing to save.
        through: that signal goes to its child processes, not to itself: a launcher would end them before they saved.
    """

    argv: tuple[str, ...]
    says: str
    env: Mapping[str, str] = {}
    saves_on: str = "SIGTERM"
    through: bool = False
    is_engine: bool = False


class Change(msgspec.Struct, frozen=True):
    """An engine's setting that is not what the published script says.

    Args:
        published: the value there; None: it does not name the key.
        ours: the value here; None: the key is not given to the engine.
        why: the reason, one clause.
    """

    key: str
    published: Any
    ours: Any
    why: str


class Plan(msgspec.Struct, frozen=True):
    """One attempt at a stage, as an engine will get it.

    Args:
        step: the process; started in no particular folder, every path in it is absolute.
        files: what it reads in addition to data and weights: absolute path -> text.
        changes: where the settings differ from the published ones.
        loadable: a checkpoint's folder and the one where it is to be written again so that the engine loads it.
    """

    step: Step
    files: Mapping[str, str]
    changes: tuple[Change, ...] = ()
    loadable: tuple[Path, Path] | None = None


def write_files(plan: Plan) -> None:
    for path, text in plan.files.items():
        write_whole(Path(path), text.encode())
