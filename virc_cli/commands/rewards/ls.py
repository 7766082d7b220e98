"""`virc rewards ls`: every built-in reward and term."""

from virc_cli.console import output
from virc_cli.console.options import Json

FAILURE: dict[str, object] = {"totals": None, "terms": None}


def command(as_json: Json = False) -> None:
    """List totals, the terms they read, and all terms.

    A system names a total as `reward: {total: NAME}`, or a custom file. `virc rewards try` scores replies.
    """
    from virc.rewards import registry as rewards
    from virc_cli.console.tables import table

    terms, totals = rewards.discover()
    if as_json:
        listed = [
            {"name": each.name, "terms": [term.name for term in each.terms], "about": each.about} for each in totals
        ]
        named = [{"name": each.name, "about": each.about} for each in terms]
        output.emit({"schema": "virc.rewards.ls/1", "totals": listed, "terms": named, "error": None})
        return
    rows = [("total", each.name, each.about) for each in totals]
    output.lines(table(rows + [("term", each.name, each.about) for each in terms]))
