"""Values that the shell completes: names of systems, models, runs and the like, without a heavy import."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from virc.systems.registry import System

VARIABLE = "_VIRC_COMPLETE"
"""Set by the shell's completion function."""

# Typer's zsh script only registers its function; loaded through fpath it must also answer the key that loaded it.
AUTOLOADED = """
if [[ "$funcstack[1]" == "_virc" ]]; then
  _virc_completion "$@"
fi
"""


def finish_installation() -> None:
    """Let the zsh script that Typer has just installed answer the first TAB of a shell, too."""
    script = Path.home() / ".zfunc" / "_virc"
    if script.is_file() and AUTOLOADED not in script.read_text():
        with script.open("a") as file:
            file.write(AUTOLOADED)


def typed() -> list[str]:
    return (os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS") or "").split()[1:]


def systems(incomplete: str) -> list[str]:
    from virc.systems import registry

    return _starting(registry.discover(), incomplete)


def overlays(context: typer.Context, incomplete: str) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in _starting(_system(context).overlays, last)]


def stages(context: typer.Context, incomplete: str) -> list[str]:
    return _starting(_system(context).stages, incomplete)


def models(incomplete: str) -> list[str]:
    from virc.core.files import MODELS
    from virc.systems import registry

    folders = (each.name for each in Path(MODELS).glob("*") if each.is_dir())
    short = (name for system in registry.discover().values() for name in system.models)
    return _starting({*short, *folders, *runs("")}, incomplete)


def runs(incomplete: str) -> list[str]:
    return _starting((path.parent.name for path in Path("runs").glob("[!.]*/run.json")), incomplete)


def families(incomplete: str) -> list[str]:
    from virc.families import registry

    return _starting(registry.discover(), incomplete)


def strategies(incomplete: str) -> list[str]:
    from virc.solving.strategies import registry

    return _starting(registry.names(), incomplete)


def benchmarks(incomplete: str) -> list[str]:
    from virc.download.benchmarks import HUB_IDS

    return _starting(HUB_IDS, incomplete)


def settings(incomplete: str) -> list[str]:
    from virc.config.user import KEPT

    return _starting(KEPT, incomplete)


def operators(incomplete: str) -> list[str]:
    from virc.data.make import registry

    return _starting(["ls", *registry.names()], incomplete)


def downloads(context: typer.Context, incomplete: str) -> list[str]:
    from virc.download.wanted import KINDS, published, short_names

    given = context.params.get("names") or ()
    known = set(published())
    if "eval" not in given:
        known |= {*KINDS, *short_names()} | (set() if given else {"ls", "rm"})
    return _starting(known - set(given), incomplete)


def downloaded(incomplete: str) -> list[str]:
    from virc.download.workspace import discover

    return _starting((each.name for each in discover(Path.cwd())), incomplete)


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _system(context: typer.Context) -> "System":
    from virc.systems import registry

    # Before an option whose value is being completed, Typer leaves all words unparsed.
    named = context.params.get("system") or next((w for w in context.args if w in registry.discover()), "virc")
    return registry.get(named)
