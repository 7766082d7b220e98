"""Values that the shell completes: names of systems, models, runs and the like, without a heavy import."""

import os
import pkgutil
from collections.abc import Callable, Iterable
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


def names(place: str) -> Callable[[], list[str]]:
    """Completes names from `MODULE:ATTRIBUTE`, a collection or a function that gives one; Typer selects from them."""

    def complete() -> list[str]:
        found = pkgutil.resolve_name(place)
        return [*(found() if callable(found) else found)]

    return complete


systems = names("virc.systems.registry:discover")
families = names("virc.families.registry:discover")
strategies = names("virc.solving.strategies.registry:names")
benchmarks = names("virc.download.benchmarks:names")
settings = names("virc.config.user:KEPT")


def overlays(context: typer.Context, incomplete: str) -> list[str]:
    before, comma, _ = incomplete.rpartition(",")
    return [before + comma + name for name in _system(context).overlays]


def stages(context: typer.Context) -> Iterable[str]:
    return _system(context).stages


def runs() -> list[str]:
    return [path.parent.name for path in Path("runs").glob("[!.]*/run.json")]


def models() -> set[str]:
    from virc.core.files import MODELS
    from virc.systems import registry

    folders = (each.name for each in Path(MODELS).glob("*") if each.is_dir())
    return {*folders, *runs(), *(name for system in registry.discover().values() for name in system.models)}


def downloads(context: typer.Context) -> set[str]:
    from virc.download.benchmarks import CORE, names
    from virc.download.wanted import KINDS, short_names

    given, published = context.params.get("names") or (), {*names()} - CORE.keys()
    kinds = {*KINDS, *short_names()} | (set() if given else {"ls", "rm"})
    return (published if "eval" in given else published | kinds) - set(given)


def downloaded() -> list[str]:
    from virc.download.workspace import discover

    return [each.name for each in discover(Path.cwd())]


def _system(context: typer.Context) -> "System":
    from virc.systems import registry

    # Before an option whose value is being completed, Typer leaves all words unparsed.
    named = context.params.get("system") or next((w for w in context.args if w in registry.discover()), "virc")
    return registry.get(named)
