"""How far each system is supported, as the `support` of its YAML says; what is not stated there is derived.

A system that works has tests in `tests/zoo`: its reward gives what the published function gives, a scripted
conversation in its own grammar is answered with the crops that calls name, and each stage runs in its engine, with
each term of its reward seen. It is reconstructed where it works so by assumptions, which its YAML lists, in the place
of what was not published.
"""

from collections.abc import Iterator

from virc.core.text import counted
from virc.systems.published import PublishedSystem, State, needs, of_listed, rows
from virc.systems.registry import System, discover


def of(published: PublishedSystem) -> State:
    system = discover().get(published.name)
    return of_system(system, published) if system else of_listed(published)


def states() -> dict[str, State]:
    known = {name: of(published) for name, published in rows().items()}
    return known | {name: of_system(system, None) for name, system in discover().items() if name not in known}


def of_system(system: System, published: PublishedSystem | None) -> State:
    if system.is_own:
        return State("own", str(system.file))
    if system.reward and system.reward.total is None:
        return State("to-be-supplied", system.reward.supply or "the total of its reward")
    match system.support:
        case "works" | "reconstructed" as kind:
            return State(kind, "; ".join(filter(None, (_assumed(system), _without(published) if published else ""))))
        case None:
            return State("partly", "its YAML does not state its support")
        case kind:
            outside = _not_expressed(published, bool(system.assumed)) if published else ()
            return State(kind, "; ".join(outside))


def _without(published: PublishedSystem) -> str:
    """What of a system that works is not here: how its authors made rows, or evaluated."""
    return f"without {', '.join(published.lacks)}" if published.lacks else ""


def _assumed(system: System) -> str:
    number = counted(len(system.assumed), "assumption")
    return f"{number}: {', '.join(each.of for each in system.assumed)}" if system.assumed else ""


def _not_expressed(published: PublishedSystem, assumed: bool) -> Iterator[str]:
    """What of a published system is not in its YAML; `assumed`: it has what was not published."""
    if published.lacks:
        yield needs(published)
    if published.unknown and not assumed:
        yield f"to be supplied: {published.unknown}"
    if published.outside:
        yield f"not: {published.outside}"
