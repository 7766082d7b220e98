"""`virc export ls`: which systems can be exported to what, and why not."""

from virc_cli.console import output
from virc_cli.console.options import Json
from virc_cli.console.tables import table

FAILURE: dict[str, object] = {"systems": None}


def command(as_json: Json = False) -> None:
    """List what each system can be exported to, and why not."""
    from virc.systems import registry as systems
    from virc_extras.export.package import TARGETS, refusals

    found = {name: refusals(system) for name, system in systems.discover().items()}
    lines = []
    for name, why in found.items():
        lines += table([(name, ", ".join(target for target in TARGETS if why[target] is None) or "none")])
        for reason in dict.fromkeys(filter(None, why.values())):
            lines.append(f"  not {', '.join(target for target in TARGETS if why[target] == reason)}: {reason}")
    listed = [{"name": name, "refused": why} for name, why in found.items()]
    output.result(as_json, "virc.export.ls/1", {"systems": listed}, lines)
