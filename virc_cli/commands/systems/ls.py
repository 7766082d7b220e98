"""`virc systems ls`: every system that is found, and every one that is published, with how far each is supported."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from virc_cli.console import output
from virc_cli.console.options import Json, flag
from virc_cli.console.tables import table

if TYPE_CHECKING:
    from virc.systems.published import PublishedSystem, State
    from virc.systems.registry import System

FAILURE: dict[str, object] = {"systems": None, "field": None}

Support = Literal["own", "works", "reconstructed", "ran", "partly", "to-be-supplied", "planned", "unsupported"]
"""How far a system is supported, from the best on."""
_USABLE = ("own", "works", "reconstructed")


def command(
    everything: Annotated[bool, flag("--all", "Those that cannot be used, too.")] = False, as_json: Json = False
) -> None:
    """Print the systems that can be used.

    Those with a YAML, in this package or in a folder of VIRC_PATH, have their stages. --all and --json have also those
    that cannot be used: of those that are published without a YAML here, a line says what is missing, the nearest
    first: components, or what is not public.
    """
    from virc.systems import published as listed
    from virc.systems import registry as systems
    from virc.systems import support

    for error in systems.discover().unreadable.values():
        output.warn(f"left out: {error.message}", error.hint)
    states = support.states()
    field = [_published(row, states[row.name]) for row in listed.rows().values()]
    named = {row["name"] for row in field}
    found = [_found(system, states[system.name]) for system in systems.discover().values()]
    if as_json:
        output.emit("virc.systems.ls/1", {"systems": found, "field": field})
        return
    lines = {row["name"]: row for row in (*field, *found) if everything or row["state"] in _USABLE}.values()
    output.lines(table([(row["state"], row["name"], _summary(row)) for row in sorted(lines, key=_distance)]))
    for what, of_these in (("published systems", named), ("other systems", states.keys() - named)):
        kinds = Counter(states[name].kind for name in of_these)
        counts = (f"{kinds[kind]} {kind.replace('-', ' ')}" for kind in get_args(Support) if kinds[kind])
        output.note(f"{len(of_these)} {what}: {', '.join(counts)}")
    output.note("what one needs: virc systems show NAME" if everything else "the others: virc systems ls --all")


def _distance(row: dict[str, Any]) -> tuple[int, int]:
    """How far a system is from working: by its state; of those that are planned, by how many components they lack."""
    return get_args(Support).index(row["state"]), len(row["lacks"]) if row["state"] == "planned" else 0


def _summary(row: dict[str, Any]) -> str:
    if row["state"] == "planned" and row["lacks"]:
        return f"needs: {', '.join(row['lacks'])}"
    return row["what"] or ", ".join(f"{name} ({kind})" for name, kind in row["stages"].items())


def _found(system: "System", reached: "State") -> dict[str, Any]:
    own = reached.kind == "own"
    return {
        "name": system.name,
        "about": system.about,
        "state": reached.kind,
        "what": reached.what,
        "stages": {name: stage.kind for name, stage in system.stages.items()},
        "models": list(system.models),
        "from": str(system.file) if own else "package",
    }


def _published(row: "PublishedSystem", reached: "State") -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(row), "state": reached.kind, "what": reached.what}
